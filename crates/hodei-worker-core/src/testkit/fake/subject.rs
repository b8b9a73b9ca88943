use std::sync::Arc;

use async_trait::async_trait;

use super::{FakePlatform, FakeProvider};
use crate::{
    capability::Capability,
    error::Result,
    factory::ConnectContext,
    model::{InstallationId, WorkerConfigBuilder, WorkerRef},
    provider::WorkerProvider,
    testkit::{Planted, Program, Subject},
};

type Wrap = Arc<dyn Fn(Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider> + Send + Sync>;

/// The fake as the behaviour suite's subject, bare or under a layer.
#[derive(Clone)]
pub struct FakeSubject {
    name: String,
    platform: FakePlatform,
    without: Vec<Capability>,
    wrap: Wrap,
}

impl FakeSubject {
    /// The bare fake.
    pub fn new() -> Self {
        Self {
            name: "fake".to_owned(),
            platform: FakePlatform::new(),
            without: Vec::new(),
            wrap: Arc::new(|inner| inner),
        }
    }
    /// The fake under a layer of that name.
    #[must_use]
    pub fn under(
        mut self,
        layer: &str,
        wrap: impl Fn(Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider> + Send + Sync + 'static,
    ) -> Self {
        self.name = format!("fake-{layer}");
        self.wrap = Arc::new(wrap);
        self
    }
    /// A fake of that name that lacks these capabilities.
    #[must_use]
    pub fn without(mut self, name: &str, capabilities: &[Capability]) -> Self {
        self.name = format!("fake-{name}");
        self.without = capabilities.to_vec();
        self
    }
}

impl Default for FakeSubject {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FakeSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeSubject").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Subject for FakeSubject {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        let provider = FakeProvider::new(self.platform.clone(), context).without(&self.without);
        Ok((self.wrap)(Arc::new(provider)))
    }

    fn prepare(&self, builder: WorkerConfigBuilder) -> WorkerConfigBuilder {
        builder
    }

    fn command(&self, program: &Program) -> Vec<String> {
        if *program == Program::Missing {
            return program.shell();
        }
        vec!["fake".to_owned(), serde_json::to_string(program).unwrap_or_default()]
    }

    async fn plant_unowned(
        &self,
        installation: &InstallationId,
        worker: &WorkerRef,
    ) -> Result<Option<Box<dyn Planted>>> {
        let key = (installation.clone(), worker.clone());
        self.platform.state().foreign.insert(key.clone());
        Ok(Some(Box::new(Foreign { platform: self.platform.clone(), key })))
    }

    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>> {
        let state = self.platform.state();
        let left = state.objects.keys().filter(|(owner, _)| owner == installation);
        Ok(left.map(|(_, worker)| worker.to_string()).collect())
    }
}

struct Foreign {
    platform: FakePlatform,
    key: super::platform::Key,
}

#[async_trait]
impl Planted for Foreign {
    async fn is_untouched(&self) -> Result<bool> {
        Ok(self.platform.state().foreign.contains(&self.key))
    }
    async fn remove(&self) -> Result<()> {
        self.platform.state().foreign.remove(&self.key);
        Ok(())
    }
}
