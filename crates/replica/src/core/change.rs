//! What an operator asks of a leader: another membership, another version of the rules, another leader.

use everopen_domain::Command;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::{Core, Submission, Ticket};
use crate::member::{self, Shown};

/// A change of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new replica that follows and does not vote yet, or a later life of a member. An earlier life
    /// that only learned leaves with the same change.
    AddLearner {
        /// What consensus calls it.
        node: u64,
        /// Where it is reached.
        address: String,
    },
    /// A learner becomes a voter, in the place of its earlier lives.
    Promote {
        /// What consensus calls it.
        node: u64,
    },
    /// A replica leaves, in all its lives.
    Remove {
        /// What consensus calls it, in any of its lives.
        node: u64,
    },
}

impl Core {
    /// Proposes a change of membership; whoever waits with the ticket is answered when it has taken
    /// effect.
    ///
    /// # Errors
    /// A sentence for the operator: nothing was proposed.
    pub fn change(
        &mut self,
        ticket: Option<Ticket>,
        change: &MembershipChange,
    ) -> Result<(), String> {
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        if self.raw.raft.has_pending_conf() || !self.state.conf.voters_outgoing.is_empty() {
            return Err("another change of membership is under way; try again".into());
        }
        let conf = &self.state.conf;
        let (MembershipChange::AddLearner { node, .. }
        | MembershipChange::Promote { node }
        | MembershipChange::Remove { node }) = change;
        let node = *node;
        let shown = Shown(node);
        // The members that are the same replica, in whichever life.
        let mut lives = super::members(conf);
        lives.retain(|known| member::number(*known) == member::number(node));
        let mut context = String::new();
        let mut changes = Vec::new();
        match change {
            MembershipChange::AddLearner { address, .. } => {
                if lives.iter().any(|known| !member::is_later(node, *known)) {
                    return Err(format!("replica {shown} is a member already"));
                }
                if member::number(node) == 0 || address.contains(char::is_whitespace) {
                    return Err("a replica needs a number from 1 and an address".into());
                }
                changes.push((AddLearnerNode, node));
                let learned = lives.iter().filter(|life| conf.learners.contains(life));
                changes.extend(learned.map(|life| (RemoveNode, *life)));
                context = format!("{node} {address}");
            }
            MembershipChange::Promote { .. } => {
                if !conf.learners.contains(&node) {
                    return Err(format!("replica {shown} is no learner"));
                }
                self.may_promote(node)?;
                changes.push((AddNode, node));
                let earlier = lives.iter().filter(|life| **life != node);
                changes.extend(earlier.map(|life| (RemoveNode, *life)));
            }
            MembershipChange::Remove { .. } => {
                if lives.is_empty() {
                    return Err(format!("replica {shown} is no member"));
                }
                if conf.voters.iter().all(|voter| lives.contains(voter)) {
                    return Err("the last voter can't be removed".into());
                }
                if lives.contains(&self.config.node) {
                    return Err("a leader can't remove itself: transfer the lead first".into());
                }
                self.may_go_on_without(&lives)?;
                changes.extend(lives.iter().map(|life| (RemoveNode, *life)));
            }
        }
        let mut proposal = ConfChangeV2::default();
        proposal.set_transition(ConfChangeTransition::Auto);
        for (kind, node) in changes {
            let mut single = ConfChangeSingle::default();
            single.node_id = node;
            single.set_change_type(kind);
            proposal.mut_changes().push(single);
        }
        proposal.context = context.into_bytes().into();
        self.raw
            .propose_conf_change(Vec::new(), proposal)
            .map_err(|e| e.to_string())?;
        if let Some(ticket) = ticket {
            self.changes.push_back((self.last_index(), ticket));
        }
        Ok(())
    }

    /// A replica is there in a later life than it is a member in: it has lost what it acknowledged,
    /// and says so by the life. A leader takes it in as a learner, and when it has caught up lets it
    /// vote in the place of the life before, if that had a vote. To be called now and then while it
    /// is there; whoever leads then goes on with what is still to do.
    pub fn welcome(&mut self, node: u64, address: &str) {
        if !self.is_leader() {
            return;
        }
        let conf = &self.state.conf;
        let members = super::members(conf);
        let was_there = |known: &u64| member::is_later(node, *known);
        if !members.iter().any(was_there) || conf.voters.contains(&node) {
            return;
        }
        let (change, becomes) = match members.contains(&node) {
            false => {
                let address = address.to_string();
                let change = MembershipChange::AddLearner { node, address };
                (change, "comes back without its log, as a learner")
            }
            true => (
                MembershipChange::Promote { node },
                "has caught up and votes again",
            ),
        };
        match self.change(None, &change) {
            Ok(()) => {
                let notice = format!("replica {} {becomes}", Shown(node));
                self.effects.notices.push(notice);
            }
            // Not yet, most likely: it is asked for again.
            Err(reason) => tracing::debug!(reason, "replica {} is not welcome yet", Shown(node)),
        }
    }

    /// The member with that number, in its latest life.
    pub fn member(&self, number: u64) -> Option<u64> {
        let members = self.members().into_iter();
        members
            .filter(|id| member::number(*id) == number)
            .max_by_key(|id| member::life(*id))
    }

    /// A learner that is far behind would take the cluster's quorum with it.
    fn may_promote(&self, node: u64) -> Result<(), String> {
        const NEAR: u64 = 1_000;
        let (matched, _) = self
            .progress(node)
            .ok_or_else(|| format!("nothing is known of replica {}", Shown(node)))?;
        let behind = self.commit_index().saturating_sub(matched);
        if behind > NEAR {
            return Err(format!(
                "replica {} is {behind} entries behind; wait until it has caught up",
                Shown(node)
            ));
        }
        // Nor one that has nothing of this leader's yet: it could not help to elect the next one.
        if !self.has_followed(node) {
            return Err(format!(
                "replica {} has not caught up with this leader; wait until it has",
                Shown(node)
            ));
        }
        if self.supports.get(&node).copied().unwrap_or(0) < self.state.logic() {
            let shown = Shown(node);
            return Err(format!("replica {shown} does not know the rules in force"));
        }
        Ok(())
    }

    /// Whether a member has entries of this leader's own.
    fn has_followed(&self, node: u64) -> bool {
        let matched = self.progress(node).map_or(0, |(matched, _)| matched);
        self.led_term == Some(self.term()) && matched >= self.led_from
    }

    /// Who is left must be able to elect the next leader: a majority of them has followed this one.
    fn may_go_on_without(&self, removed: &[u64]) -> Result<(), String> {
        let voters = self.state.conf.voters.iter();
        let left: Vec<u64> = voters.copied().filter(|v| !removed.contains(v)).collect();
        let followed = left.iter().filter(|voter| self.has_followed(**voter));
        let (count, needed) = (followed.count(), left.len() / 2 + 1);
        if count < needed {
            return Err(format!(
                "without it {} replicas would vote, and only {count} of them have followed this leader; bring \
                 the others up first",
                left.len()
            ));
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
                        "replica {} knows logic up to {known}, not {version}",
                        Shown(node)
                    ));
                }
                None => {
                    return Err(format!(
                        "replica {} has not said which logic it knows; is it running?",
                        Shown(node)
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
            Some(to) if !voters.contains(&to) => {
                return Err(format!("replica {} does not vote", Shown(to)));
            }
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
            return Err(format!("replica {} leads already", Shown(to)));
        }
        self.raw.transfer_leader(to);
        self.keep_timeout();
        Ok(to)
    }
}
