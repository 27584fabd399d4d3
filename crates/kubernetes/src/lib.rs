//! Versions of services in Kubernetes, behind the port of `rollout`.
//!
//! A Deployment of each group is patched: its image, its number of replicas, and a mark with the rollout.
//! Pods are scheduled, restarted and balanced by Kubernetes alone; this looks at what became of them.
#![warn(missing_docs)]

mod look;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use everopen_rollout::cluster::{Cluster, Seen, Set, Waits};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::sync::Mutex;

/// The mark of a rollout, on a Deployment and on its pods.
pub const ROLLOUT: &str = "everopen.dev/rollout";
/// The version, for people.
pub const VERSION: &str = "everopen.dev/version";
/// Who patches, for the managed fields of the API server.
const MANAGER: &str = "everopen";

/// How a cluster is found: a kubeconfig file and a context.
type Place = (Option<PathBuf>, Option<String>);

/// All clusters that files name: each is connected to when it is first needed.
#[derive(Default)]
pub struct Clusters(Mutex<HashMap<Place, Client>>);

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clusters")
    }
}

/// A set's objects.
struct Objects {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    services: Api<Service>,
}

fn told(what: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

impl Clusters {
    async fn client(&self, set: &Set) -> Result<Client, String> {
        let key = (set.kubeconfig.clone(), set.context.clone());
        let mut clients = self.0.lock().await;
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let options = KubeConfigOptions {
            context: set.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match (&set.kubeconfig, &set.context) {
            (Some(path), _) => {
                let read = Kubeconfig::read_from(path);
                let read =
                    read.map_err(|error| told(&format!("read {}", path.display()), &error))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await,
            (None, None) => {
                let config = Config::infer().await;
                let config = config.map_err(|error| told("find a cluster", &error))?;
                Ok(config)
            }
        };
        let config = config.map_err(|error| told("find the cluster", &error))?;
        let client = Client::try_from(config).map_err(|error| told("the cluster", &error))?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    async fn objects(&self, set: &Set) -> Result<Objects, String> {
        let client = self.client(set).await?;
        Ok(Objects {
            deployments: Api::namespaced(client.clone(), &set.namespace),
            pods: Api::namespaced(client.clone(), &set.namespace),
            services: Api::namespaced(client, &set.namespace),
        })
    }
}

impl Objects {
    async fn deployment(&self, set: &Set) -> Result<Deployment, String> {
        let name = format!("deployment {} of {}", set.deployment, set.namespace);
        match self.deployments.get_opt(&set.deployment).await {
            Ok(Some(deployment)) => Ok(deployment),
            Ok(None) => Err(format!("there is no {name}: make it, with no replicas")),
            Err(error) => Err(told(&format!("get {name}"), &error)),
        }
    }

    /// The pods that a Deployment selects.
    async fn pods(&self, deployment: &Deployment) -> Result<Vec<Pod>, String> {
        let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
        let labels = selector.and_then(|selector| selector.match_labels.as_ref());
        let labels: Vec<String> = labels
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if labels.is_empty() {
            return Err("its selector has no matchLabels".into());
        }
        let params = ListParams::default().labels(&labels.join(","));
        let pods = self.pods.list(&params).await;
        Ok(pods.map_err(|error| told("list its pods", &error))?.items)
    }

    async fn patch(&self, set: &Set, patch: &Patch<serde_json::Value>) -> Result<(), String> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_string()),
            ..PatchParams::default()
        };
        let patched = self
            .deployments
            .patch(&set.deployment, &params, patch)
            .await;
        patched
            .map(drop)
            .map_err(|error| told(&format!("patch deployment {}", set.deployment), &error))
    }
}

impl Cluster for Clusters {
    fn start<'a>(&'a self, set: &'a Set) -> Waits<'a, ()> {
        Box::pin(async move {
            let objects = self.objects(set).await?;
            objects.deployment(set).await?;
            // On the template, too: the same image is run anew, and its pods are told from others.
            let marks = json!({ ROLLOUT: set.rollout, VERSION: set.version });
            let patch = json!({
                "metadata": { "annotations": marks },
                "spec": {
                    "replicas": set.replicas,
                    "template": {
                        "metadata": { "annotations": marks },
                        "spec": { "containers": [{ "name": set.container, "image": set.image }] },
                    },
                },
            });
            objects.patch(set, &Patch::Strategic(patch)).await
        })
    }

    fn look<'a>(&'a self, set: &'a Set) -> Waits<'a, Seen> {
        Box::pin(async move {
            let objects = self.objects(set).await?;
            let deployment = objects.deployment(set).await?;
            look::container(&deployment, &set.container)?;
            let pods = objects.pods(&deployment).await?;
            let service = objects.services.get(&set.service).await;
            let service =
                service.map_err(|error| told(&format!("get service {}", set.service), &error))?;
            let service = look::address(&service, set.port)
                .map_err(|why| format!("service {}: {why}", set.service))?;
            Ok(look::seen(set, &deployment, &pods, service))
        })
    }

    fn end<'a>(&'a self, set: &'a Set) -> Waits<'a, usize> {
        Box::pin(async move {
            let objects = self.objects(set).await?;
            let deployment = objects.deployment(set).await?;
            if look::rollout(&deployment.metadata) != Some(set.rollout.as_str()) {
                // Another version runs there by now.
                return Ok(0);
            }
            let pods = objects.pods(&deployment).await?;
            let patch = json!({ "spec": { "replicas": 0 } });
            objects.patch(set, &Patch::Merge(patch)).await?;
            Ok(pods.iter().filter(|pod| look::is_of(pod, set)).count())
        })
    }

    fn kill_one<'a>(&'a self, set: &'a Set) -> Waits<'a, ()> {
        Box::pin(async move {
            let objects = self.objects(set).await?;
            let deployment = objects.deployment(set).await?;
            let pods = objects.pods(&deployment).await?;
            let one = pods.iter().find(|pod| look::is_of(pod, set));
            let name = one.and_then(|pod| pod.metadata.name.clone());
            let name = name.ok_or("it has no pod")?;
            let now = DeleteParams::default().grace_period(0);
            let deleted = objects.pods.delete(&name, &now).await;
            deleted
                .map(drop)
                .map_err(|error| told(&format!("delete pod {name}"), &error))
        })
    }
}
