//! Which images the services' names mean by now.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use hodei_worker_core::{Capability, Result, WorkerConfig};

use super::{
    composition::Composition,
    instance::{Instance, Present},
};

impl Composition {
    /// The images of which workers of these services would be made now, as far as they have workers that an older image
    /// alone would be a reason to replace. One request for each image, at once, however many services have it.
    pub(super) async fn images(
        &self,
        present: &Present,
        counts: &BTreeMap<String, usize>,
    ) -> Result<BTreeMap<String, String>> {
        let mut asked: BTreeMap<String, (WorkerConfig, Vec<&str>)> = BTreeMap::new();
        for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
            let blueprint = self.blueprint(name)?;
            let kept = |one: &Instance| one.hash() == blueprint.hash && one.status.image_id.is_some();
            let Some(image) = blueprint.image() else { continue };
            if !present.of(name).take(*count).any(kept) {
                continue;
            }
            if let Some((_, services)) = asked.get_mut(&image) {
                services.push(name);
                continue;
            }
            let config = blueprint.config(&self.project.name, name, 1, &BTreeMap::new())?;
            asked.insert(image, (config, vec![name]));
        }
        if asked.is_empty() || !self.provider.get_capabilities().await?.supports(Capability::ImageIds) {
            return Ok(BTreeMap::new());
        }
        let each = asked.values().map(|(config, services)| async move {
            let found = self.provider.get_image_id(config).await;
            let found = found.map_err(|error| error.with_context("service", services.join(", ")))?;
            Ok::<_, hodei_worker_core::Error>((found, services))
        });
        let mut all = BTreeMap::new();
        for (image, services) in try_join_all(each).await? {
            if let Some(image) = image {
                all.extend(services.iter().map(|name| ((*name).to_owned(), image.clone())));
            }
        }
        Ok(all)
    }
}
