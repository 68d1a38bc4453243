//! holdfast: a GitOps controller that cannot be made to amplify a bad commit.
//!
//! # One cycle
//!
//! ```text
//! wake (timer, webhook, watch, command)         carries no data: every cycle reads everything it acts on
//!
//! assess                                        every cycle, in every state, whatever is held
//!   tip, commits    every commit since the last verified one         git
//!   trust           signatures, ancestry, freezes                    signatures, core::trust, core::freeze
//!   render          the tree at a commit -> Desired                  render
//!   observe         the target, read fresh -> Observed               targets
//!   compare         desired, accepted and observed, merged by id     core::compare, core::drift
//!   rehearse        what the target would make of the operations     core::rehearse, targets
//!   judge           effects, magnitudes, culprit, limits, latches    core::plan, core::judge
//! fleet             the applications of one repository, together     core::fleet
//! act                                           only what the judgement let through
//!   reserve the write durably, read freeze and tip again, write with a precondition, record the outcome;
//!   after a batch, wait until it is healthy     controller::act, core::pace
//! report            one list of facts is the journal, the state, the log, the metrics and the alerts
//! ```
//!
//! [`controller`] strings the steps together ([`controller::assess`], [`controller::act`]); [`controller::group`] and
//! [`controller::run`] say when. What a step found, failures included, is a value that [`mod@crate::core::judge`] sees: nothing
//! ends a cycle before the judgement, so that a frozen or halted controller reports as freshly as a running one.
//!
//! # Where things are
//!
//! - [`mod@crate::core`] decides, and does nothing else: no files, no clock, no environment, no threads.
//! - [`config`] reads what a person writes, and refuses it with all its errors at once.
//! - [`manifest`] says what Kubernetes objects are, for those that read them and those that write them.
//! - [`git`], [`signatures`], [`render`], [`targets`], [`store`], [`server`], [`alerts`], [`forges`] and [`cluster`] are the edges.
//!   They carry out, and know nothing of each other.
//! - [`controller`] joins them; [`cli`] is the commands.
//! - [`clock`] is the machine's clock, and [`crash`] where the tests end the program in the middle of something.
//!
//! Dependencies run one way: `core` <- `config` <- the edges <- `controller` <- `cli`.

pub mod alerts;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod core;
pub mod crash;
pub mod forges;
pub mod git;
pub mod manifest;
pub mod process;
pub mod render;
pub mod server;
pub mod signatures;
pub mod store;
pub mod targets;
