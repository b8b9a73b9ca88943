//! The way to the cluster: whose credentials, which API server, and what it is.

use std::path::PathBuf;

use hodei_worker_core::{
    Error, ErrorKind, Result,
    factory::{Detected, Environment},
};
use http::HeaderValue;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::version::Info};
use kube::{
    Api, Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{KubernetesSettings, error};

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The cluster, and the namespace that is ours in it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The API server's address, for errors.
    pub(crate) server: String,
    /// Whether this host is a pod of the cluster.
    pub(crate) inside: bool,
    request_timeout: std::time::Duration,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) async fn open(settings: &KubernetesSettings) -> Result<Self> {
        let (mut config, inside) = configuration(settings).await?;
        // One layer retries, and it is not this one.
        config.default_retry = false;
        config.connect_timeout = Some(settings.connect_timeout.get());
        let agent = concat!("hodei-worker/", env!("CARGO_PKG_VERSION"));
        config.headers.push((http::header::USER_AGENT, HeaderValue::from_static(agent)));
        let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = ClientBuilder::try_from(config).map_err(|error| {
            Error::new(ErrorKind::Config, "the kubeconfig's certificates or log-in cannot be used")
                .with_context("server", &server)
                .with_help("see `kubectl config view`; the certificate and its key must belong together")
                .with_source(error)
        })?;
        let request_timeout = settings.request_timeout.get();
        Ok(Self { client: client.build(), namespace, server, inside, request_timeout })
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.api()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits for an answer, no longer than a request may take.
    pub(crate) async fn call<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failed> {
        match tokio::time::timeout(self.request_timeout, request).await {
            Ok(answer) => answer.map_err(Failed::Kube),
            Err(_) => Err(Failed::Late),
        }
    }

    pub(crate) async fn version(&self) -> Result<Info> {
        let version = self.call(self.client.apiserver_version()).await;
        version.map_err(|failed| self.error(failed))
    }

    /// The API groups that it has, each with a version: `apps/v1`.
    pub(crate) async fn api_groups(&self) -> Result<Vec<String>> {
        let listed = self.call(self.client.list_api_groups()).await;
        let listed = listed.map_err(|failed| self.error(failed))?;
        let versions = listed.groups.into_iter().flat_map(|group| group.versions);
        Ok(versions.map(|version| version.group_version).collect())
    }

    /// The library's error for what failed.
    pub(crate) fn error(&self, failed: Failed) -> Error {
        error::classify(failed, &self.server)
    }
}

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum Failed {
    Kube(kube::Error),
    /// There was none in time.
    Late,
}

impl Failed {
    /// What the API server says, if it says something.
    pub(crate) fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }
}

async fn configuration(settings: &KubernetesSettings) -> Result<(Config, bool)> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let wrong = |error| kubeconfig_error(error, settings);
    if let Some(path) = &settings.kubeconfig {
        let path = path.clone();
        // Files, whose paths in the kubeconfig are relative to it.
        let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(path)).await;
        let read =
            read.map_err(|error| Error::new(ErrorKind::Cancelled, error.to_string()))?.map_err(wrong)?;
        let config = Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?;
        return Ok((config, false));
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok((config, false)),
        // There is none: this may be a pod.
        Err(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)) if settings.context.is_none() => {
            match Config::incluster() {
                Ok(config) => Ok((config, true)),
                Err(error) => Err(Error::new(
                    ErrorKind::Config,
                    "there is no kubeconfig, and this is no pod",
                )
                .with_help(
                    "name a kubeconfig by the setting `kubeconfig` or by KUBECONFIG; in a pod, the service \
                         account's token must be mounted (`automountServiceAccountToken`)",
                )
                .with_source(error)),
            }
        }
        Err(error) => Err(wrong(error)),
    }
}

fn kubeconfig_error(error: KubeconfigError, settings: &KubernetesSettings) -> Error {
    let file = settings.kubeconfig.as_ref().map(|path| path.display().to_string());
    let (field, message) = match &error {
        KubeconfigError::CurrentContextNotSet => {
            ("context", "the kubeconfig has no current context, and the settings name none".to_owned())
        }
        KubeconfigError::LoadContext(name) => ("context", format!("the kubeconfig has no context `{name}`")),
        KubeconfigError::LoadClusterOfContext(name) => {
            ("kubeconfig", format!("the kubeconfig has no cluster `{name}`, which the context names"))
        }
        KubeconfigError::FindPath => ("kubeconfig", "there is no kubeconfig".to_owned()),
        KubeconfigError::ReadConfig(_, path) => {
            ("kubeconfig", format!("the kubeconfig `{}` cannot be read", path.display()))
        }
        KubeconfigError::Parse(_) => {
            ("kubeconfig", "the kubeconfig is no YAML of the form that it has".to_owned())
        }
        KubeconfigError::MissingClusterUrl => ("kubeconfig", "the cluster has no `server`".to_owned()),
        KubeconfigError::ParseClusterUrl(_) => {
            ("kubeconfig", "the cluster's `server` is no address".to_owned())
        }
        KubeconfigError::LoadCertificateAuthority(_) => {
            ("kubeconfig", "the cluster's certificate authority cannot be read".to_owned())
        }
        KubeconfigError::LoadClientCertificate(_) => {
            ("kubeconfig", "the user's client certificate cannot be read".to_owned())
        }
        KubeconfigError::LoadClientKey(_) => {
            ("kubeconfig", "the user's client key cannot be read".to_owned())
        }
        _ => ("kubeconfig", "the kubeconfig cannot be used".to_owned()),
    };
    let error =
        Error::config(field, message).with_source(error).with_help("see `kubectl config get-contexts`");
    match file {
        Some(file) => error.with_context("file", file),
        None => error,
    }
}

/// What speaks for a cluster: a service account, or a kubeconfig.
pub(crate) fn detect(environment: &Environment) -> Option<Detected<KubernetesSettings>> {
    if environment.var("KUBERNETES_SERVICE_HOST").is_some() && environment.exists(ACCOUNT) {
        let detected = Detected::new(KubernetesSettings::default(), "this is a pod with a service account");
        return Some(detected.with_priority(30));
    }
    let named =
        environment.var("KUBECONFIG").map(|paths| ("KUBECONFIG names one".to_owned(), paths.to_owned()));
    let usual = || {
        let path: PathBuf = environment.home()?.join(".kube/config");
        environment.exists(&path).then(|| (path.display().to_string(), String::new()))
    };
    let (reason, _) = named.or_else(usual)?;
    // A kubeconfig may lead to production: whoever wants that says so.
    Some(
        Detected::new(KubernetesSettings::default(), format!("there is a kubeconfig: {reason}"))
            .listed_only(),
    )
}
