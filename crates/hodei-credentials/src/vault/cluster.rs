//! Several nodes as one server: reads go to whoever can answer, writes to the active one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use hodei_worker_core::{Error, ErrorKind, Result, Retry, Timestamp};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::{sync::Notify, time::Instant};

use super::{
    VaultSettings,
    address::Address,
    client::{Answer, Headers, Node, Request, Role},
    error::{Fault, is_behind, is_open, is_out_of_order, refused},
    transport,
};

/// How often the nodes are asked who is active while none is.
const TICK: Duration = Duration::from_millis(200);
/// How often they are asked while one is active and another one was seen not to work.
const LATER: Duration = Duration::from_secs(10);
/// How long the others are waited for once one says that it is active.
const GRACE: Duration = Duration::from_millis(250);
const HEALTH: &str = "sys/health";

/// Where a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the active node, or else to a standby.
    Any,
    /// To the active node. What may have been done is not repeated.
    Once,
    /// To the active node. It may be repeated: twice comes to the same as once.
    Repeatable,
}

/// The nodes of one cluster.
pub(super) struct Cluster {
    nodes: Vec<Node>,
    namespace: Option<String>,
    attempt_timeout: Duration,
    request_timeout: Duration,
    failover_timeout: Duration,
    /// How far the cluster was at our last write.
    index: Mutex<Option<HeaderValue>>,
    /// Whoever looks who is active, and when somebody did last; others wait for what it finds.
    looking: tokio::sync::Mutex<Option<Instant>>,
    /// Somebody has met a node that does not work.
    trouble: Notify,
}

/// What `sys/health` tells.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Health {
    #[serde(default)]
    pub(super) version: String,
}

impl Cluster {
    pub(super) fn new(settings: &VaultSettings) -> Result<Self> {
        let mut addresses = Vec::new();
        for (n, text) in settings.addresses.iter().enumerate() {
            let address =
                Address::parse(text).map_err(|why| Error::config(format!("addresses[{n}]"), why))?;
            addresses.push(address);
        }
        let tls = match addresses.iter().any(|address| address.tls) {
            true => Some(transport::tls_config(&settings.tls.clone().unwrap_or_default())?),
            false => None,
        };
        let timeout = settings.connect_timeout.get();
        Ok(Self {
            nodes: addresses.into_iter().map(|address| Node::new(address, tls.clone(), timeout)).collect(),
            namespace: settings.namespace.clone(),
            attempt_timeout: settings.attempt_timeout.get(),
            request_timeout: settings.request_timeout.get(),
            failover_timeout: settings.failover_timeout.get(),
            index: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            trouble: Notify::new(),
        })
    }

    /// The address of the active node, as far as is known.
    pub(super) fn active(&self) -> Option<&Address> {
        self.active_node().map(|node| &node.address)
    }
    fn active_node(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.role() == Role::Active)
    }

    /// Sends a request to a node that can answer it.
    pub(super) async fn send(
        &self,
        request: &Request,
        token: Option<&SecretString>,
        route: Route,
    ) -> Result<Answer, Fault> {
        let end = Instant::now() + self.failover_timeout;
        let mut rounds = 0_u32;
        let last = loop {
            let round = match route {
                Route::Any => self.read(request, token).await,
                Route::Once | Route::Repeatable => self.write(request, token).await,
            };
            let fault = match round {
                Ok(answer) => return Ok(answer),
                Err(fault @ Fault::Unknown(_)) if route == Route::Once => return Err(fault),
                Err(fault) => fault,
            };
            // Only an election is waited for.
            if self.look().await == Outlook::None || Instant::now() >= end {
                break fault;
            }
            // Another node that is active already is asked at once.
            if rounds > 0 || self.active_node().is_none() {
                tokio::time::sleep(jittered(TICK)).await;
            }
            rounds += 1;
        };
        Err(last)
    }

    /// Asks one node after the other: those that work; of these, once more, those that lag behind our last write, since while
    /// there is no active node what a standby has is better than nothing (whoever reads what we wrote ourselves looks at
    /// the version); and those that did not work when they were asked last.
    async fn read(&self, request: &Request, token: Option<&SecretString>) -> Result<Answer, Fault> {
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| node.role());
        let (good, bad): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.role() <= Role::Unknown);
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut behind, mut last) = (Vec::new(), None);
        for node in good {
            // The active node has all that was written.
            let index = index.as_ref().filter(|_| node.role() != Role::Active);
            match self.read_at(node, request, token, index, &mut last).await {
                Some(answer) if is_behind(answer.status, index.is_some()) => {
                    last = Some(Fault::Unsent(refused(&answer, request)));
                    behind.push(node);
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
        for node in behind.into_iter().chain(bad) {
            if let Some(answer) = self.read_at(node, request, token, None, &mut last).await {
                return Ok(answer);
            }
        }
        Err(last.unwrap_or_else(|| Fault::Unsent(no_active())))
    }

    /// A node's answer, if it has one for us.
    async fn read_at(
        &self,
        node: &Node,
        request: &Request,
        token: Option<&SecretString>,
        index: Option<&HeaderValue>,
        last: &mut Option<Fault>,
    ) -> Option<Answer> {
        // Where there are others, none is waited for long.
        let timeout = if self.nodes.len() > 1 { self.attempt_timeout } else { self.request_timeout };
        let with = Headers { token, namespace: self.namespace.as_deref(), index };
        match node.send(request, &with, timeout).await {
            Ok(answer) if is_behind(answer.status, index.is_some()) => Some(answer),
            Ok(answer) if is_out_of_order(answer.status) => {
                self.has_failed(node, role_of(answer.status).unwrap_or(Role::Unknown));
                *last = Some(Fault::Unsent(refused(&answer, request)));
                None
            }
            Ok(answer) if is_open(answer.status) => {
                // A standby without an active node fails so; one that is active has its reasons.
                let was_active = node.role() == Role::Active;
                self.has_failed(node, Role::Unknown);
                *last = Some(Fault::Unknown(refused(&answer, request)));
                if was_active {
                    self.look().await;
                }
                (node.role() == Role::Active).then_some(answer)
            }
            Ok(answer) => {
                // What was taken for dead is not.
                if matches!(node.role(), Role::Dead | Role::OutOfOrder) {
                    node.set_role(Role::Unknown);
                }
                Some(answer)
            }
            Err(fault) => {
                self.has_failed(node, Role::Dead);
                *last = Some(fault);
                None
            }
        }
    }

    /// Asks the active node.
    async fn write(&self, request: &Request, token: Option<&SecretString>) -> Result<Answer, Fault> {
        let node = match self.active_node() {
            Some(node) => node,
            None => {
                self.look().await;
                self.active_node().ok_or_else(|| Fault::Unsent(self.why_none()))?
            }
        };
        let with = Headers { token, namespace: self.namespace.as_deref(), index: None };
        let answer = match node.send(request, &with, self.request_timeout).await {
            Ok(answer) => answer,
            Err(fault) => {
                self.has_failed(node, Role::Dead);
                return Err(fault);
            }
        };
        if is_out_of_order(answer.status) {
            self.has_failed(node, role_of(answer.status).unwrap_or(Role::Unknown));
            return Err(Fault::Unsent(refused(&answer, request)));
        }
        if is_open(answer.status) {
            // A node that steps down fails so too; one that is still active has its reasons.
            node.set_role(Role::Unknown);
            self.look().await;
            if node.role() != Role::Active {
                return Err(Fault::Unknown(refused(&answer, request)));
            }
        }
        if let Some(index) = &answer.index {
            *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        }
        Ok(answer)
    }

    fn has_failed(&self, node: &Node, role: Role) {
        if node.set_role(role) {
            tracing::warn!(address = %node.address, ?role, "a node of the Vault cluster does not work");
        }
        self.trouble.notify_one();
    }

    /// Asks all nodes what they are.
    pub(super) async fn look(&self) -> Outlook {
        let since = Instant::now();
        let mut looked = self.looking.lock().await;
        if let Some(at) = *looked {
            // Hundreds of calls may wait for an election: they do not all ask.
            if at > since {
                return self.outlook();
            }
            tokio::time::sleep_until(at + TICK / 2).await;
        }
        let mut asked: FuturesUnordered<_> =
            self.nodes.iter().map(|node| async move { (node, self.health(node).await.0) }).collect();
        let (mut claims, mut end) = (Vec::new(), None);
        loop {
            let next = match end {
                None => asked.next().await,
                // One that hangs is not waited for.
                Some(end) => tokio::time::timeout_at(end, asked.next()).await.unwrap_or(None),
            };
            match next {
                Some((node, Role::Active)) => {
                    claims.push(node);
                    end.get_or_insert(Instant::now() + GRACE);
                }
                Some((node, role)) => self.is_seen(node, role),
                None => break,
            }
        }
        let elected = self.elected(&claims).await;
        for node in &self.nodes {
            let is = |other: &&Node| std::ptr::eq(*other, node);
            if elected.as_ref().is_some_and(is) {
                self.is_seen(node, Role::Active);
            } else if claims.iter().any(is) {
                self.is_seen(node, Role::OutOfOrder);
            } else if node.role() == Role::Active {
                self.is_seen(node, Role::Unknown);
            }
        }
        *looked = Some(Instant::now());
        self.outlook()
    }

    fn is_seen(&self, node: &Node, role: Role) {
        if node.set_role(role) {
            tracing::info!(address = %node.address, ?role, "a node of the Vault cluster has changed");
        }
    }

    /// Of several nodes that say they are active, the one that became so last. A node that was halted may go on saying so
    /// for ever (seen of OpenBao 2.7): it serves what it remembers, and no write.
    async fn elected<'a>(&self, claims: &[&'a Node]) -> Option<&'a Node> {
        #[derive(Deserialize)]
        struct Leader {
            active_time: Timestamp,
        }
        if let [] | [_] = claims {
            return claims.first().copied();
        }
        let request = Request::get("sys/leader");
        let times = claims.iter().map(|node| async {
            let told = node.send(&request, &Headers::default(), GRACE * 4).await.ok();
            (told.and_then(|told| told.read::<Leader>(&request).ok()).map(|leader| leader.active_time), *node)
        });
        let times = futures::future::join_all(times).await;
        times.into_iter().max_by_key(|(since, _)| *since).map(|(_, node)| node)
    }

    fn outlook(&self) -> Outlook {
        let roles = || self.nodes.iter().map(Node::role);
        if roles().any(|role| role == Role::Active) {
            Outlook::Active
        } else if roles().any(|role| matches!(role, Role::Standby | Role::CutOff)) {
            Outlook::Election
        } else {
            Outlook::None
        }
    }

    /// Why no node is active, when none is.
    fn why_none(&self) -> Error {
        let roles: Vec<_> =
            self.nodes.iter().map(|node| format!("{} {:?}", node.address, node.role())).collect();
        let error = match self.outlook() {
            Outlook::None if self.nodes.iter().any(|node| node.role() == Role::OutOfOrder) => {
                Error::new(ErrorKind::Unavailable, "the server is sealed or not initialised").with_help(
                    "unseal it (`vault operator unseal`), or make its keys (`vault operator init`)",
                )
            }
            Outlook::None => Error::new(ErrorKind::Unavailable, "no server can be reached")
                .with_help("are they started, and the addresses right?"),
            _ => no_active(),
        };
        error.with_retry(Retry::Safe { after: None }).with_context("nodes", roles.join(", "))
    }

    async fn health(&self, node: &Node) -> (Role, Option<Health>) {
        let timeout = self.attempt_timeout.min(Duration::from_secs(2));
        match node.send(&Request::get(HEALTH), &Headers::default(), timeout).await {
            Err(_) => (Role::Dead, None),
            Ok(answer) => {
                let role = role_of(answer.status).unwrap_or(Role::OutOfOrder);
                (role, answer.value(&Request::get(HEALTH)).ok())
            }
        }
    }

    /// What the best node tells about itself.
    pub(super) async fn version(&self) -> Result<Health> {
        if self.look().await == Outlook::None {
            return Err(self.why_none());
        }
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| node.role());
        for node in nodes {
            if let (Role::Active | Role::Standby | Role::CutOff, Some(health)) = self.health(node).await {
                return Ok(health);
            }
        }
        Err(self.why_none())
    }

    /// Looks who is active whenever somebody has met a node that does not work, and until all is well. Never ends.
    pub(super) async fn keep_looking(self: Arc<Self>) {
        loop {
            self.trouble.notified().await;
            loop {
                let pause = match self.look().await {
                    Outlook::Active if self.nodes.iter().all(|node| node.role() <= Role::Unknown) => break,
                    Outlook::Active => LATER,
                    Outlook::Election => TICK,
                    Outlook::None => LATER / 10,
                };
                let pause = tokio::time::sleep(jittered(pause));
                if self.active_node().is_some() {
                    // Of new trouble we want to know at once.
                    tokio::select! { () = pause => {}, () = self.trouble.notified() => {} }
                } else {
                    pause.await;
                }
            }
        }
    }
}

/// Whether there is an active node, or may be one soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    Active,
    Election,
    None,
}

fn no_active() -> Error {
    Error::new(ErrorKind::Unavailable, "the cluster has no active node")
        .with_retry(Retry::Safe { after: None })
        .with_help("do a majority of its nodes run, and are they unsealed?")
}

/// What a node is that answers so.
fn role_of(status: StatusCode) -> Option<Role> {
    Some(match status.as_u16() {
        200 => Role::Active,
        307 | 308 | 429 | 473 => Role::Standby,
        474 => Role::CutOff,
        472 | 501 | 503 | 530 => Role::OutOfOrder,
        _ => return None,
    })
}

/// That long, give or take a quarter: hosts do not ask in step.
pub(super) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.75 + fastrand::f64() / 2.0)
}
