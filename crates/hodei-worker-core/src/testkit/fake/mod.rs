//! A provider that plays the suite's programs in memory, on a platform that several hosts can share, and that fails
//! when it is told to.

mod fault;
mod logs;
mod object;
mod platform;
mod play;
mod port;
mod provider;
mod settings;
mod subject;

pub use fault::Fault;
pub use platform::FakePlatform;
pub use provider::FakeProvider;
pub use settings::FakeSettings;
pub use subject::FakeSubject;
