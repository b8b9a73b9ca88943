//! D4: networks, by a real engine.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    Bench, context, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    socket, var,
};
use hodei_worker_core::{
    ErrorKind, WorkerPhase, WorkerProvider as _,
    model::{NetworkAttachment, WorkerConfigBuilder},
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, WorkerFilter},
    testkit::ManualClock,
};
use hodei_worker_docker::{DockerOptions, DockerProvider, DockerSettings, NetworkOptions, SubnetOptions};

/// A name that no other test has.
fn unique(name: &str) -> String {
    format!("{name}-{:08x}", fastrand::u32(..))
}

fn on(builder: WorkerConfigBuilder, network: &str, alias: &str) -> WorkerConfigBuilder {
    builder.network(NetworkAttachment::new(network).alias(alias))
}

#[tokio::test]
async fn d4_workers_of_a_network_find_each_other_by_name_and_the_last_takes_it_along() {
    on_engine("net", |bench| async move {
        let (front, back) = (unique("front"), unique("back"));
        let serve = "echo served > /tmp/index.html; echo ready; exec httpd -f -p 80 -h /tmp";
        let server = on(bench.script("server", serve), &front, "web");
        let server = on(server, &back, "web-behind").build().unwrap();
        let server = bench.create(&server).await;
        bench.provider.start_worker(&server, &StartOptions::default()).await.unwrap();
        bench.says(&server, "ready").await;
        for (id, network, name) in [("one", &front, "web"), ("two", &back, "web-behind")] {
            let client =
                on(bench.script(id, &format!("wget -qO- http://{name}/")), network, id).build().unwrap();
            let client = bench.create(&client).await;
            bench.provider.start_worker(&client, &StartOptions::default()).await.unwrap();
            let ended = bench.ended(&client).await;
            let said = bench.text(&client, &LogOptions::all()).await;
            assert_eq!((said.as_str(), ended.exit.map(|exit| exit.is_success())), ("served\n", Some(true)));
        }
        // One that never ran is a user too.
        let idle = on(bench.script("idle", "true"), &front, "idle").build().unwrap();
        let idle = bench.create(&idle).await;
        let delete = DeleteOptions::default();
        let stranger = bench.stranger().await;
        for id in ["one", "two", "server"] {
            for status in
                &bench.provider.list_workers(&WorkerFilter::id(id.parse().unwrap())).await.unwrap().workers
            {
                stranger.provider.delete_worker(&status.worker, &delete).await.unwrap();
            }
        }
        assert!(bench.raw().has_network(&front).await && !bench.raw().has_network(&back).await);
        bench.provider.start_worker(&idle, &StartOptions::default()).await.unwrap();
        bench.provider.delete_worker(&idle, &delete).await.unwrap();
        assert!(!bench.raw().has_network(&front).await);
    })
    .await;
}

#[tokio::test]
async fn d4_networks_of_others_are_joined_and_left_alone() {
    on_engine("netother", |bench| async move {
        let theirs = unique("theirs");
        bench.raw().create_network(&theirs).await;
        let external = DockerOptions::default().define_network(&theirs, NetworkOptions::external());
        for (id, options) in [("a", DockerOptions::default()), ("b", external.clone())] {
            let config = on(bench.script(id, "true"), &theirs, id).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            bench.ended(&worker).await;
            bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        }
        assert!(bench.raw().has_network(&theirs).await);
        bench.raw().remove_network(&theirs).await;
        let config = on(bench.script("c", "true"), &theirs, "c").options(&external).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("field")),
            (ErrorKind::Config, Some("networks[0].name"))
        );
    })
    .await;
}

#[tokio::test]
async fn d4_an_internal_network_has_no_way_out_and_is_not_taken_for_an_open_one() {
    on_engine("netin", |bench| async move {
        let name = unique("inside");
        let internal = DockerOptions::default().define_network(&name, NetworkOptions::default().internal());
        let routes = "ip route | grep -c default; exit 0";
        let config = on(bench.script("a", routes), &name, "a").options(&internal).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.raw().network(&name).await.internal, Some(true));
        // Old engines leave the route and close it by the firewall, which the tests' engines leave alone.
        if var("HODEI_TEST_DOCKER_PART") == "docker-newest" {
            assert_eq!(bench.text(&worker, &LogOptions::all()).await, "0\n");
        }
        let open = on(bench.script("b", "true"), &name, "b").build().unwrap();
        let error = bench.provider.create_worker(&open, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn d4_a_refused_creation_leaves_no_network() {
    on_engine("netleft", |bench| async move {
        let name = unique("left");
        let config = on(bench.script("a", "true"), &name, "a").image("hodei-test/none:1");
        let never = DockerOptions::default().pull(hodei_worker_docker::PullPolicy::Never);
        let config = config.options(&never).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(!bench.raw().has_network(&name).await);
    })
    .await;
}

#[tokio::test]
async fn d4_a_network_that_somebody_removed_is_no_missing_worker() {
    on_engine("netgone", |bench| async move {
        let name = unique("gone");
        let config = on(bench.script("a", "true"), &name, "a").build().unwrap();
        let worker = bench.create(&config).await;
        bench.raw().remove_network(&name).await;
        let error = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Dependency, "{error}");
        let again = CreateOptions::generation(worker.generation.next());
        let next = bench.provider.create_worker(&config, &again).await.unwrap().worker;
        bench.provider.start_worker(&next, &StartOptions::default()).await.unwrap();
        bench.ended(&next).await;
    })
    .await;
}

#[tokio::test]
async fn d4_what_a_container_is_told_of_names_is_in_it() {
    on_engine("names", |bench| async move {
        let mut options = DockerOptions::default();
        options.networking.hostname = Some("box".to_owned());
        options.networking.extra_hosts = vec!["there:192.0.2.7".to_owned()];
        options.networking.dns = vec!["192.0.2.53".to_owned()];
        let script = "hostname; grep -c '192.0.2.7.*there' /etc/hosts; grep -c 192.0.2.53 /etc/resolv.conf";
        let config = bench.script("a", script).options(&options).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "box\n1\n1\n");
    })
    .await;
}

#[tokio::test]
async fn d4_a_network_of_other_addresses_or_options_is_not_what_was_asked_for() {
    on_engine("netdef", |bench| async move {
        let name = unique("ranges");
        let base = format!("10.{}.{}", fastrand::u8(64..), fastrand::u8(..));
        let defined = |subnet: &str, gateway: u8, mtu: &str| {
            let mut range = SubnetOptions::default();
            range.subnet = Some(format!("{base}.{subnet}"));
            range.gateway = Some(format!("{base}.{gateway}").parse().unwrap());
            let mut network = NetworkOptions::default();
            network.subnets = vec![range];
            network.driver_options.insert("com.docker.network.driver.mtu".to_owned(), mtu.to_owned());
            DockerOptions::default().define_network(&name, network)
        };
        let config = |id: &str, options: &DockerOptions| {
            on(bench.script(id, "true"), &name, id).options(options).build().unwrap()
        };
        let first = defined("0/24", 5, "1400");
        bench.create(&config("a", &first)).await;
        // The same again, and one that leaves all to others: what the engine has added is no difference.
        bench.create(&config("b", &first)).await;
        bench.create(&config("c", &DockerOptions::default())).await;
        for (other, words) in [
            (defined("0/25", 5, "1400"), "do not hold `subnets[0]`"),
            (defined("0/24", 6, "1400"), "do not hold `subnets[0]`"),
            (defined("0/24", 5, "1300"), "com.docker.network.driver.mtu"),
        ] {
            let created = bench.provider.create_worker(&config("d", &other), &CreateOptions::default()).await;
            let error = created.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains(words), "`{words}` is missing in {error}");
        }
        assert_eq!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.len(), 3);
    })
    .await;
}

/// A host of the same installation that begins now, so much later by the engine's clock. Its own clock is a day ahead,
/// which says nothing.
async fn later(bench: &Bench, after: Duration) {
    let clock = Arc::new(ManualClock::at(hodei_worker_core::clock::system().now()));
    clock.advance(Duration::from_secs(24 * 3600));
    let context = context(&bench.installation).with_clock(clock);
    let proxy = Proxy::unix(socket());
    proxy.advance(after);
    DockerProvider::connect(DockerSettings::at(&proxy.endpoint), context).await.unwrap();
}

#[tokio::test]
async fn d4_what_a_deletion_leaves_that_is_cut_off_is_removed_by_the_next_host() {
    let proxy = Arc::new(Proxy::unix(socket()));
    let through = Arc::clone(&proxy);
    on_engine_with("netcut", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let (left, used, theirs) = (unique("left"), unique("used"), unique("theirs"));
        bench.raw().create_network(&theirs).await;
        // Whoever makes a network need not be its last user.
        let maker = bench.create(&on(bench.script("maker", "true"), &left, "a").build().unwrap()).await;
        let last = on(bench.script("last", "true"), &left, "b");
        let last = bench.create(&on(last, &theirs, "b").build().unwrap()).await;
        bench.create(&on(bench.script("user", "true"), &used, "c").build().unwrap()).await;
        bench.provider.delete_worker(&maker, &DeleteOptions::default()).await.unwrap();
        // The host dies when the container is gone.
        through.set(Mode::Lose("/networks/"));
        through.take();
        let deleting = tokio::spawn({
            let (provider, last) = (bench.provider.clone(), last.clone());
            async move { provider.delete_worker(&last, &DeleteOptions::default()).await }
        });
        through.asked("/networks/").await;
        deleting.abort();
        through.set(Mode::Pass);
        assert_eq!(bench.stranger().await.status(&last).await.phase, WorkerPhase::Absent);
        later(&bench, Duration::ZERO).await;
        assert!(bench.raw().has_network(&left).await, "somebody may be about to join it");
        later(&bench, Duration::from_secs(11 * 60)).await;
        assert!(!bench.raw().has_network(&left).await, "it is left");
        for kept in [&used, &theirs] {
            assert!(bench.raw().has_network(kept).await, "{kept}");
        }
        bench.raw().remove_network(&theirs).await;
    })
    .await;
}
