//! A way to the database that can be cut.

use hodei_worker_benches::Outcome;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// It ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// The host and port of an address such as `postgres://user@host:port/name`.
fn server(url: &str) -> Outcome<String> {
    let rest = url.split_once('@').ok_or("the address names no user")?.1;
    Ok(rest.split('/').next().unwrap_or(rest).to_owned())
}

impl Proxy {
    pub(crate) async fn before(url: &str) -> Outcome<Self> {
        let server = server(url)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let cut = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let cuts = cut.subscribe();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (mut cuts, server) = (cuts.clone(), server.clone());
                connections.spawn(async move {
                    let mut client = client;
                    let is_cut = *cuts.borrow_and_update();
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    if is_cut {
                        return;
                    }
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.wait_for(|cut| *cut) => {}
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, cut, _tasks: tasks })
    }

    /// The address by this way.
    pub(crate) fn url(&self, url: &str) -> Outcome<String> {
        Ok(url.replace(&server(url)?, &format!("127.0.0.1:{}", self.port)))
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

/// Removes the schema and all that is in it.
pub(crate) async fn drop_schema(url: &str, schema: &str) -> Outcome {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    drop(client);
    connection.await??;
    Ok(())
}
