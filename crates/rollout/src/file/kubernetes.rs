//! Versions that run in Kubernetes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::File;
use crate::cluster::Set;

/// A version in Kubernetes, instead of processes of this machine. A Deployment and a Service of each group are
/// there already, the Deployment with no replicas; a rollout patches the image and the number, and Kubernetes
/// does the rest. In the names `{group}` is replaced by the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// A kubeconfig file; without it `KUBECONFIG`, `~/.kube/config`, or the account of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without it, the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace.
    #[serde(default = "default")]
    pub namespace: String,
    /// The Deployment.
    pub deployment: String,
    /// The Service, whose cluster address becomes the group's target.
    pub service: String,
    /// The container whose image is the version.
    pub container: String,
    /// The image; `{version}` is replaced.
    pub image: String,
    /// The port at which the container listens.
    pub port: u16,
}

fn default() -> String {
    "default".into()
}

impl File {
    /// The set of a group in a cluster; none if its versions are processes of this machine.
    pub fn set(&self, group: &str, rollout: &str) -> Option<Set> {
        let kubernetes = self.start.kubernetes.as_ref()?;
        let named = |text: &String| text.replace("{group}", group);
        Some(Set {
            kubeconfig: kubernetes.kubeconfig.clone(),
            context: kubernetes.context.clone(),
            namespace: kubernetes.namespace.clone(),
            deployment: named(&kubernetes.deployment),
            service: named(&kubernetes.service),
            container: kubernetes.container.clone(),
            image: kubernetes.image.replace("{version}", &self.version),
            port: kubernetes.port,
            replicas: self.start.instances,
            rollout: rollout.to_string(),
            version: self.version.clone(),
        })
    }

    pub(super) fn check_kubernetes(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: &str| Err((field.to_string(), detail.to_string()));
        let Some(kubernetes) = &self.start.kubernetes else {
            return match self.start.command.is_empty() {
                true => wrong("start.command", "it names no program"),
                false => Ok(()),
            };
        };
        if !self.start.command.is_empty() {
            return wrong("start.command", "start.kubernetes is there as well");
        }
        if !self.start.env.is_empty() {
            return wrong(
                "start.env",
                "the environment of a pod stands in its Deployment",
            );
        }
        if self.after.drain_signal.is_some() {
            let detail = "pods are told by their own preStop hook";
            return wrong("after.drain_signal", detail);
        }
        for (field, text) in [
            ("start.kubernetes.deployment", &kubernetes.deployment),
            ("start.kubernetes.service", &kubernetes.service),
        ] {
            if !text.contains("{group}") {
                return wrong(field, "it has no {group}: both groups would have the same");
            }
        }
        Ok(())
    }
}
