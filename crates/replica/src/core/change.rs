//! What an operator asks of a leader: another membership, another version of the rules, another leader.

use everopen_domain::Command;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::{Core, Submission, Ticket};

/// A change of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new replica that follows and does not vote yet.
    AddLearner {
        /// Its number.
        node: u64,
        /// Where it is reached.
        address: String,
    },
    /// A learner becomes a voter.
    Promote {
        /// Its number.
        node: u64,
    },
    /// A replica leaves.
    Remove {
        /// Its number.
        node: u64,
    },
}

impl Core {
    /// Proposes a change of membership; answered when it has taken effect.
    ///
    /// # Errors
    /// A sentence for the operator: nothing was proposed.
    pub fn change(&mut self, ticket: Ticket, change: &MembershipChange) -> Result<(), String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        if self.raw.raft.has_pending_conf() || !self.state.conf.voters_outgoing.is_empty() {
            return Err("another change of membership is under way; try again".into());
        }
        let conf = &self.state.conf;
        let (kind, node, context) = match change {
            MembershipChange::AddLearner { node, address } => {
                if super::members(conf).contains(node) {
                    return Err(format!("replica {node} is a member already"));
                }
                if *node == 0 || address.contains(char::is_whitespace) {
                    return Err("a replica needs a number from 1 and an address".into());
                }
                let context = format!("{node} {address}");
                (ConfChangeType::AddLearnerNode, *node, context)
            }
            MembershipChange::Promote { node } => {
                if !conf.learners.contains(node) {
                    return Err(format!("replica {node} is no learner"));
                }
                self.may_promote(*node)?;
                (ConfChangeType::AddNode, *node, String::new())
            }
            MembershipChange::Remove { node } => {
                if !super::members(conf).contains(node) {
                    return Err(format!("replica {node} is no member"));
                }
                if conf.voters == [*node] {
                    return Err("the last voter can't be removed".into());
                }
                if *node == self.config.node {
                    return Err("a leader can't remove itself: transfer the lead first".into());
                }
                (ConfChangeType::RemoveNode, *node, String::new())
            }
        };
        let mut single = ConfChangeSingle::default();
        single.node_id = node;
        single.set_change_type(kind);
        let mut proposal = ConfChangeV2::default();
        proposal.set_transition(ConfChangeTransition::Auto);
        proposal.mut_changes().push(single);
        proposal.context = context.into_bytes().into();
        self.raw
            .propose_conf_change(Vec::new(), proposal)
            .map_err(|e| e.to_string())?;
        self.changes.push_back((self.last_index(), ticket));
        Ok(())
    }

    /// A learner that is far behind would take the cluster's quorum with it.
    fn may_promote(&self, node: u64) -> Result<(), String> {
        const NEAR: u64 = 1_000;
        let (matched, _) = self
            .progress(node)
            .ok_or_else(|| format!("nothing is known of replica {node}"))?;
        let behind = self.commit_index().saturating_sub(matched);
        if behind > NEAR {
            return Err(format!(
                "replica {node} is {behind} entries behind; wait until it has caught up"
            ));
        }
        if self.supports.get(&node).copied().unwrap_or(0) < self.state.logic() {
            return Err(format!("replica {node} does not know the rules in force"));
        }
        Ok(())
    }

    /// Switches on the next version of the rules, if every member knows it.
    ///
    /// # Errors
    /// A sentence for the operator: nothing was proposed.
    pub fn activate(&mut self, ticket: Ticket, version: u16) -> Result<(), String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        if version != self.state.logic() + 1 {
            return Err(format!(
                "logic version {} is in force; only {} can be activated next",
                self.state.logic(),
                self.state.logic() + 1
            ));
        }
        for node in self.members() {
            let known = if node == self.config.node {
                Some(self.config.logic_max)
            } else {
                self.supports.get(&node).copied()
            };
            match known {
                Some(known) if known >= version => {}
                Some(known) => {
                    return Err(format!(
                        "replica {node} knows logic up to {known}, not {version}"
                    ));
                }
                None => {
                    return Err(format!(
                        "replica {node} has not said which logic it knows; is it running?"
                    ));
                }
            }
        }
        let command = Command::ActivateLogic { version };
        self.submit(ticket, &Submission::Internal(&[command]))
            .map_err(|refused| refused.code.text().to_string())
    }

    /// Hands the lead to a voter, or to the one that is furthest if none is named.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn transfer(&mut self, to: Option<u64>) -> Result<u64, String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        let own = self.config.node;
        let voters = &self.state.conf.voters;
        let to = match to {
            Some(to) if !voters.contains(&to) => return Err(format!("replica {to} does not vote")),
            Some(to) => to,
            None => voters
                .iter()
                .copied()
                .filter(|node| *node != own)
                .filter(|node| {
                    let progress = self.raw.raft.prs().get(*node);
                    progress.is_some_and(|progress| progress.recent_active)
                })
                .max_by_key(|node| self.progress(*node).map(|(matched, _)| matched))
                .ok_or("no other voter can be reached")?,
        };
        if to == own {
            return Err(format!("replica {to} leads already"));
        }
        self.raw.transfer_leader(to);
        self.keep_timeout();
        Ok(to)
    }
}
