//! Networks: those that are ours go with the last worker that is on them, others' never.

mod defined;

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use bollard::models::{
    ContainerSummary, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkInspect,
};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerConfig, WorkerRef,
    model::{NetworkAttachment, Ownership},
};
use http::Method;
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::{
    DockerOptions, NetworkOptions,
    client::{self, Answer, query},
    container::{answered, endpoint},
    error::{status, words},
    names,
    provider::Shared,
};

pub(crate) use defined::is_same_driver;

/// Networks that the engine has by itself.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// A network without a container for that long was left by a deletion that was cut off. A creation needs some seconds
/// from its networks to its container.
const CUT_OFF: SignedDuration = SignedDuration::from_mins(10);

impl Shared {
    /// Sees to it that the worker's networks exist.
    pub(crate) async fn ensure_networks(
        self: &Arc<Self>,
        config: &WorkerConfig,
        options: &DockerOptions,
        ownership: &Ownership,
        attempt: &str,
    ) -> Result<()> {
        for (n, network) in config.networks.iter().enumerate() {
            let definition = options.networking.networks.get(&network.name).cloned();
            // Its name and all that it should be.
            let wanted = format!("{} {definition:?}", network.name);
            // One that must exist already is nobody's here to make anew: its absence is told at once.
            let is_anothers = definition.as_ref().is_some_and(|definition| definition.external);
            let seen = self.networks_seen.seen_or_turn(&wanted).await;
            if is_anothers || seen.is_err() {
                let begun = Instant::now();
                self.ensure_network(n, network, definition, ownership, attempt).await?;
                self.networks_seen.note(wanted, begun, ());
            }
        }
        Ok(())
    }

    async fn ensure_network(
        self: &Arc<Self>,
        n: usize,
        network: &NetworkAttachment,
        definition: Option<NetworkOptions>,
        ownership: &Ownership,
        attempt: &str,
    ) -> Result<()> {
        let name = &network.name;
        let explicit = definition.is_some();
        let definition = definition.unwrap_or_default();
        let judge = |found: &NetworkInspect| self.as_defined(n, found, &definition, explicit);
        if let Some(found) = self.network(name).await? {
            return judge(&found);
        }
        if definition.external {
            return Err(Error::config(
                format!("networks[{n}].name"),
                format!("there is no network `{name}`"),
            )
            .with_help("it is said to exist: make it, or leave out `external`"));
        }
        let (shared, name, ownership) = (Arc::clone(self), name.clone(), ownership.clone());
        let attempt = attempt.to_owned();
        // Goes on when this call is dropped, since the engine does: another that it is asked for meanwhile has the same
        // name, and old engines make it.
        let made = tokio::spawn(async move {
            let _turn = shared.making_network.lock().await;
            shared.make_network(n, &name, &definition, explicit, &ownership, &attempt).await
        });
        answered(made).await
    }

    async fn make_network(
        &self,
        n: usize,
        name: &str,
        definition: &NetworkOptions,
        explicit: bool,
        ownership: &Ownership,
        attempt: &str,
    ) -> Result<()> {
        let judge = |found: &NetworkInspect| self.as_defined(n, found, definition, explicit);
        if let Some(found) = self.network(name).await? {
            return judge(&found);
        }
        let request = request(name, definition.clone(), ownership, attempt);
        // Old engines make a second one of the same name unless they are asked to look.
        let checked = serde_json::to_value(request).map(|mut value| {
            value["CheckDuplicate"] = true.into();
            value
        });
        let body = checked.and_then(|request| client::body(&request));
        let body = body.map_err(|error| self.engine.error(error.into()))?;
        let created = self.engine.call::<serde_json::Value>(Method::POST, "/networks/create", "", Some(body));
        match created.await {
            // Another host may have made one in the same instant.
            Ok(_) => self.only_one(name).await?.as_ref().map_or(Ok(()), judge),
            // Somebody was faster.
            Err(error) if status(&error) == Some(409) => match self.network(name).await? {
                Some(found) => judge(&found),
                None => Err(self.engine.error(error)),
            },
            // 403: ranges that overlap; 400: ranges that make no sense; 404: no such driver.
            Err(error) if matches!(status(&error), Some(400 | 403 | 404)) => Err(Error::config(
                format!("options.docker.networking.networks.{name}"),
                format!("the engine does not make the network `{name}`: {}", words(&error)),
            )),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// Sees to it that each network that the worker is to be on is the only one of its name: two hosts, or one that was
    /// killed and its successor, may have had one made each. Whether one was not.
    pub(crate) async fn make_networks_unique(&self, worker: &WorkerRef) -> Result<bool> {
        let mut changed = false;
        for network in self.find_or_fail(worker).await?.wanted_networks() {
            let path = format!("/networks/{}", client::segment(&network.name));
            let found = self.engine.get::<NetworkInspect>(&path, "").await;
            if found.is_err_and(|error| status(&error) == Some(400)) {
                self.only_one(&network.name).await?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// A network by its name, whosever it is.
    async fn network(&self, name: &str) -> Result<Option<NetworkInspect>> {
        match self.engine.get::<NetworkInspect>(&format!("/networks/{}", client::segment(name)), "").await {
            // It is looked for by its id as well.
            Ok(found) => Ok((found.name.as_deref() == Some(name)).then_some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            // Several have this name.
            Err(error) if status(&error) == Some(400) => self.only_one(name).await,
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// The network of that name. Where two hosts have made one each, both keep the same and the other one goes: a name
    /// that several have is of no use to anybody.
    async fn only_one(&self, name: &str) -> Result<Option<NetworkInspect>> {
        let filters = serde_json::json!({"name": [name]});
        let query = query(&[("filters", &filters.to_string())]);
        let listed: Vec<NetworkInspect> =
            self.engine.get("/networks", &query).await.map_err(|error| self.engine.error(error))?;
        // The engine's filter takes a part of the name for the name.
        let mut same: Vec<_> = listed.into_iter().filter(|one| one.name.as_deref() == Some(name)).collect();
        same.sort_by(|a, b| a.id.cmp(&b.id));
        let surplus = same.split_off(same.len().min(1));
        for one in surplus {
            let ours = names::ownership(self.installation(), one.labels.as_ref()).is_some();
            let Some(id) = one.id.filter(|_| ours) else { continue };
            match self.engine.command(Method::DELETE, &format!("/networks/{id}"), "").await {
                Err(error) if !matches!(status(&error), Some(403 | 404 | 409)) => {
                    return Err(self.engine.error(error));
                }
                _ => {}
            }
        }
        Ok(same.pop())
    }

    /// One that differs from its definition is not what was asked for. Another's is taken as it is where nothing was said
    /// of how it should be, or that it exists.
    fn as_defined(
        &self,
        n: usize,
        found: &NetworkInspect,
        definition: &NetworkOptions,
        explicit: bool,
    ) -> Result<()> {
        let ours = names::ownership(self.installation(), found.labels.as_ref()).is_some();
        if definition.external || !(ours || explicit) {
            return Ok(());
        }
        let differences = defined::differences(found, definition);
        if differences.is_empty() {
            return Ok(());
        }
        let name = found.name.as_deref().unwrap_or_default();
        let message =
            format!("the network `{name}` exists and is made otherwise: {}", differences.join(", "));
        let error = Error::new(ErrorKind::Conflict, message).with_context("field", format!("networks[{n}]"));
        Err(error.with_help(match ours {
            true => "remove the workers that are on it, or give it another name",
            false => "it is somebody else's: say that it is `external`, or give it another name",
        }))
    }

    /// Joins the networks that the engine did not take at the creation.
    pub(crate) async fn join_networks(
        &self,
        id: &str,
        networks: &[NetworkAttachment],
        options: &DockerOptions,
        joined: &[String],
    ) -> Result<()> {
        for (n, network) in networks.iter().enumerate() {
            if joined.contains(&network.name) {
                continue;
            }
            let request = NetworkConnectRequest {
                container: id.to_owned(),
                endpoint_config: Some(endpoint(network, options, n == 0)),
            };
            let body = client::body(&request).map_err(|error| self.engine.error(error.into()))?;
            let path = format!("/networks/{}/connect", client::segment(&network.name));
            match self.engine.send_to(Method::POST, &path, "", Some(body)).await {
                Ok(()) => {}
                // On it already.
                Err(error) if status(&error) == Some(403) && self.is_on(id, &network.name).await? => {}
                Err(error) if matches!(status(&error), Some(400 | 403)) => {
                    let message = format!("the engine does not let it join: {}", words(&error));
                    return Err(Error::config(format!("networks[{n}]"), message));
                }
                Err(error) => return Err(self.engine.error(error)),
            }
        }
        Ok(())
    }

    async fn is_on(&self, id: &str, network: &str) -> Result<bool> {
        let inspected = self.inspect(id).await?;
        let all = inspected.and_then(|inspected| inspected.network_settings?.networks);
        Ok(all.is_some_and(|all| all.contains_key(network)))
    }

    /// Removes a network if it is ours and no container is on it, whether it runs or not.
    pub(crate) async fn remove_network(&self, name: &str) -> Result<()> {
        self.remove_network_if(name, |_| true).await
    }

    /// Removes a network that this attempt has made.
    pub(crate) async fn remove_new_network(&self, name: &str, attempt: &str) -> Result<()> {
        let made =
            |found: &NetworkInspect| found.labels.as_ref().and_then(|all| all.get(names::ATTEMPT).cloned());
        self.remove_network_if(name, |found| made(found).as_deref() == Some(attempt)).await
    }

    /// Removes those of ours that no container of ours names: a deletion that was cut off has left them. Young ones are
    /// let be, since a creation may be about to make their first user.
    pub(crate) async fn sweep_networks(&self) -> Result<()> {
        // Before the containers: what is made meanwhile is not looked at.
        let networks = self.list_own_networks([]).await?;
        // By the engine's clock, which dates them: this host's may be another.
        let now = networks.date.unwrap_or_else(|| self.context.clock.now());
        let left = |network: &NetworkInspect| is_older(network, CUT_OFF, now);
        let mut names: Vec<String> =
            networks.value.into_iter().filter(left).filter_map(|network| network.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let named: HashSet<String> =
            self.list_containers([]).await?.iter().flat_map(networks_named_by).collect();
        names.retain(|name| !named.contains(name));
        for name in names {
            self.remove_network_if(&name, left).await?;
        }
        Ok(())
    }

    async fn remove_network_if(&self, name: &str, is_it: impl FnOnce(&NetworkInspect) -> bool) -> Result<()> {
        if BUILT_IN.contains(&name) {
            return Ok(());
        }
        // Nobody of ours joins it meanwhile; those of other hosts may, and the engine refuses while they run.
        let _alone = self.joining.write().await;
        self.networks_seen.forget();
        let Some(found) = self.network(name).await? else { return Ok(()) };
        if names::ownership(self.installation(), found.labels.as_ref()).is_none() || !is_it(&found) {
            return Ok(());
        }
        // The engine counts those alone that run.
        let users = self.list_filtered(serde_json::json!({"network": [name]})).await?;
        if !users.is_empty() {
            return Ok(());
        }
        let id = found.id.unwrap_or_else(|| name.to_owned());
        match self.engine.command(Method::DELETE, &format!("/networks/{id}"), "").await {
            // 403: somebody is on it after all.
            Err(error) if !matches!(status(&error), Some(403 | 404 | 409)) => Err(self.engine.error(error)),
            _ => Ok(()),
        }
    }

    /// This installation's networks with these labels.
    pub(crate) async fn own_networks<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<String>> {
        let listed = self.list_own_networks(wanted).await?.value;
        Ok(listed.into_iter().filter_map(|network| network.name).collect())
    }

    async fn list_own_networks<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Answer<Vec<NetworkInspect>>> {
        let filters = serde_json::json!({"label": names::label_filter(self.installation(), wanted)});
        let query = query(&[("filters", &filters.to_string())]);
        let listed = self.engine.call(Method::GET, "/networks", &query, None).await;
        listed.map_err(|error| self.engine.error(error))
    }
}

/// Whether a network has been there for longer than that. One that does not say since when has not.
fn is_older(network: &NetworkInspect, age: SignedDuration, now: Timestamp) -> bool {
    let created = network.created.as_ref().and_then(|created| created.parse::<Timestamp>().ok());
    created.is_some_and(|created| now.duration_since(created) > age)
}

/// The networks that a container is on or is to join: an old engine takes one of several, and the others are joined when
/// it starts.
fn networks_named_by(container: &ContainerSummary) -> Vec<String> {
    let joined = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mode = container.host_config.as_ref().and_then(|host| host.network_mode.clone());
    let text = container.labels.as_ref().and_then(|all| all.get(names::NETWORKS));
    let wanted = text.and_then(|text| serde_json::from_str::<Vec<NetworkAttachment>>(text).ok());
    let wanted = wanted.unwrap_or_default().into_iter().map(|network| network.name);
    joined.into_iter().flatten().map(|(name, _)| name.clone()).chain(mode).chain(wanted).collect()
}

fn request(
    name: &str,
    definition: NetworkOptions,
    ownership: &Ownership,
    attempt: &str,
) -> NetworkCreateRequest {
    let mut labels = definition.labels;
    labels.extend(ownership.to_labels());
    labels.insert(names::ATTEMPT.to_owned(), attempt.to_owned());
    let subnet = |subnet: crate::SubnetOptions| IpamConfig {
        subnet: subnet.subnet,
        ip_range: subnet.ip_range,
        gateway: subnet.gateway.as_ref().map(IpAddr::to_string),
        auxiliary_addresses: None,
    };
    let subnets: Vec<_> = definition.subnets.into_iter().map(subnet).collect();
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some(definition.driver.unwrap_or_else(|| "bridge".to_owned())),
        internal: Some(definition.internal),
        attachable: Some(definition.attachable),
        enable_ipv6: Some(definition.ipv6),
        ipam: (!subnets.is_empty()).then(|| Ipam { config: Some(subnets), ..Ipam::default() }),
        options: Some(definition.driver_options.into_iter().collect()),
        labels: Some(labels.into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d4_a_network_is_as_old_as_its_engine_says() {
        let made = |created: serde_json::Value| -> NetworkInspect {
            serde_json::from_value(json!({"Name": "net", "Created": created})).unwrap()
        };
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let old = |created: &str| is_older(&made(json!(created)), CUT_OFF, now);
        assert!(old("2026-01-02T11:49:59.123456789Z"));
        assert!(!old("2026-01-02T11:50:01.123456789Z"));
        assert!(old("2026-01-02T12:49:59+01:00") && !old("2026-01-02T12:50:01+01:00"));
        assert!(!old("2026-01-02T13:00:00Z"), "its clock is ahead");
        assert!(!old("some day") && !is_older(&made(json!(null)), CUT_OFF, now));
    }

    #[test]
    fn d4_a_container_names_the_networks_that_it_has_not_joined_yet() {
        let wanted = [NetworkAttachment::new("front"), NetworkAttachment::new("back")];
        let container = serde_json::from_value(json!({
            "Labels": {names::NETWORKS: json!(wanted).to_string()},
            "HostConfig": {"NetworkMode": "mode"},
            "NetworkSettings": {"Networks": {"front": {}}},
        }));
        assert_eq!(networks_named_by(&container.unwrap()), ["front", "mode", "front", "back"]);
        assert!(networks_named_by(&ContainerSummary::default()).is_empty());
    }
}
