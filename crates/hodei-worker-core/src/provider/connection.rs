use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a port of a worker, made by its provider. Dropping it closes it; one direction alone need not be
/// closed by a shutdown.
///
/// # Errors
/// Reads and writes tell three things apart:
/// - [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused): nobody listens at the port. Where the provider
///   connects on its own side, it may say so a moment after it has handed out the connection; while nobody writes,
///   silence does not prove that somebody listens.
/// - An error that holds this library's [`Error`](crate::Error): the way through the provider broke. Says nothing about
///   the worker.
/// - Any other error, and the end: what the worker did.
///
/// # Examples
/// ```
/// use hodei_worker_core::{Error, provider::WorkerConnection};
/// use tokio::io::AsyncReadExt as _;
/// async fn is_the_workers_fault(connection: &mut dyn WorkerConnection) -> bool {
///     match connection.read_u8().await {
///         Ok(_) => false,
///         Err(error) => !error.get_ref().is_some_and(|inner| inner.is::<Error>()),
///     }
/// }
/// ```
pub trait WorkerConnection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> WorkerConnection for T {}
