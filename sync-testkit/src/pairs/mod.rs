//! The replica-pair suite: what two replicas, or three, must do together, whatever they are and however they
//! reach each other.
//!
//! [`replica_pairs!`](crate::replica_pairs) makes one test of each case, for a [`ReplicaPair`]: two kinds of
//! [`Party`], of which a case opens as many as it needs. [`sql_replica_pairs!`](crate::sql_replica_pairs) adds
//! the cases that need plain SQL at the second kind: constraints, triggers, other programs.
//!
//! Names that begin with `rule_` prove a rule of the design. The cases after the ones of LoopBack 3 name those
//! in their comments (`LoopBack: …`).
//!
//! ```
//! use std::sync::Arc;
//! use sync_runtime::{AsReplica, Workspace, WorkspaceBuilder, replica::Replica};
//! use sync_store_memory::MemoryStore;
//! use sync_testkit::pairs::{Party, ReplicaPair};
//!
//! #[derive(Debug)]
//! struct InMemory(MemoryStore);
//!
//! #[sync_runtime::async_trait]
//! impl Party for InMemory {
//!     async fn builder(&self) -> WorkspaceBuilder {
//!         Workspace::builder(self.0.clone())
//!     }
//!     async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica> {
//!         workspace.to_replica()
//!     }
//!     async fn copy(&self) -> Box<dyn Party> {
//!         Box::new(InMemory(self.0.copy().await.expect("no transaction is open")))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct MemoryAndMemory;
//!
//! #[sync_runtime::async_trait]
//! impl ReplicaPair for MemoryAndMemory {
//!     async fn a(&self) -> Box<dyn Party> {
//!         Box::new(InMemory(MemoryStore::new()))
//!     }
//!     async fn b(&self) -> Box<dyn Party> {
//!         Box::new(InMemory(MemoryStore::new()))
//!     }
//! }
//!
//! sync_testkit::replica_pairs!(MemoryAndMemory);
//! ```
//!
//! A case is a private function of this module; one that the list does not name is dead code, which does not
//! compile.

#![deny(dead_code)]

mod aftermath;
mod env;
mod models;
mod moves;
mod world;

mod accounts;
mod calls;
mod clocks;
mod conflicts;
mod detect;
mod drift;
mod filters;
mod given_back;
mod groups;
mod history;
mod incoming;
mod keeping_both;
mod live;
mod merging;
mod pages;
mod parents;
mod permission;
mod poison;
mod purging;
mod races;
mod relay;
mod replicate;
mod scenarios;
mod scopes;
mod settling;
mod sharing;
mod sql;
mod statuses;
mod subscriptions;
mod topology;

pub use env::BentEnv;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use sync_runtime::replica::Replica;
use sync_runtime::{Env, SystemEnv, Workspace, WorkspaceBuilder};

/// A case about to run. It stays on one thread.
pub type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Two kinds of replicas, to be proven with each other.
///
/// Methods panic where they fail: nothing can be proven then.
#[sync_runtime::async_trait]
pub trait ReplicaPair: Debug + Send + Sync {
    /// A party of the first kind, the devices of the cases, with a fresh and empty store.
    async fn a(&self) -> Box<dyn Party>;

    /// A party of the second kind, the servers of the cases, with a fresh and empty store.
    async fn b(&self) -> Box<dyn Party>;

    /// Time, randomness, sleeping and spawning of both; cases bend the clock of it.
    fn env(&self) -> Arc<dyn Env> {
        Arc::new(SystemEnv)
    }

    /// Runs a case to its end, in the executor that the replicas need.
    fn run(&self, case: Case<'_>) {
        pollster::block_on(case);
    }
}

/// One replica of a case: a store that outlives its workspace.
#[sync_runtime::async_trait]
pub trait Party: Debug + Send + Sync {
    /// A builder of a workspace over this party's store. Asked for again, it is over the same store: a restart.
    async fn builder(&self) -> WorkspaceBuilder;

    /// The workspace as others reach it: itself, or a client of a server of it.
    async fn reach(&self, workspace: &Workspace) -> Arc<dyn Replica>;

    /// Another party with a copy of the store as it stands, replica id and all: a copied file, a backup.
    async fn copy(&self) -> Box<dyn Party>;

    /// Runs SQL on the store past the library, as another program would, also before the first workspace was
    /// built. Only [`sql_replica_pairs!`](crate::sql_replica_pairs) asks for it.
    ///
    /// # Panics
    /// Where the store has no SQL, or refuses it.
    async fn sql(&self, script: &str) {
        panic!("{self:?} has no SQL to run {script:?}");
    }
}

/// Makes one `#[test]` of each case of the [suite](crate::pairs), for a [`ReplicaPair`](crate::pairs::ReplicaPair).
///
/// Cases of one topic stand in a module of its name. See [`crate::pairs`] for an example.
#[macro_export]
macro_rules! replica_pairs {
    ($pair:expr) => {
        $crate::__pair_cases! { [$crate::__pair_tests] [cases $pair] }
    };
}

/// Makes one `#[test]` of each case that needs SQL at the second party; see [`crate::pairs::Party::sql`].
#[macro_export]
macro_rules! sql_replica_pairs {
    ($pair:expr) => {
        $crate::__sql_pair_cases! { [$crate::__pair_tests] [sql_cases $pair] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __pair_tests {
    ([$cases:ident $pair:expr] $($topic:ident { $($case:ident)* })*) => {
        $(mod $topic {
            #[allow(unused_imports, reason = "the pair may be named by a path of its own")]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::pairs::$cases::$topic::$case(&$pair);
            })*
        })*
    };
}

macro_rules! define_cases {
    ([$cases:ident $names:ident] $($topic:ident { $($case:ident)* })*) => {
        /// What the tests call.
        #[doc(hidden)]
        pub mod $cases {
            $(pub mod $topic {
                $(pub fn $case(pair: &dyn $crate::pairs::ReplicaPair) {
                    pair.run(Box::pin($crate::pairs::$topic::$case(pair)));
                })*
            })*
        }

        /// The names of the cases, as `topic::case`.
        pub const $names: &[&str] = &[$($(concat!(stringify!($topic), "::", stringify!($case)),)*)*];
    };
}

/// The list of all cases: it defines what the tests call, and it expands to the tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __pair_cases {
    ([$($with:tt)*] [$($argument:tt)*]) => {
        $($with)*! {
            [$($argument)*]
            accounts {
                a_group_that_was_cut_by_a_sign_in_arrives
                what_was_edited_before_belongs_to_the_first_who_signs_in
                another_subject_sees_nothing_and_sends_nothing_of_the_first
                nothing_is_sent_in_anothers_name
                rule_exact_base_after_somebody_else_had_the_device
                conflicts_and_refusals_lie_aside
                a_sync_under_way_ends_with_its_subject
                rule_one_replica_id_one_history_of_what_lay_aside
                a_server_is_nobodys
            }
            replicate {
                replicates_data_using_the_target_model
                replicates_from_a_peer_into_a_workspace
                applies_since_filter_on_source_changes
                a_since_of_another_history_compares_everything
                uses_different_since_values_for_source_and_target
                picks_up_changes_made_during_replication
                returns_new_current_checkpoints
                leaves_nothing_to_send_back
                detects_update_made_during_update
                detects_create_made_during_create
                detects_update_made_during_delete
                handles_delete_made_during_delete
                gets_changes_since_the_given_checkpoint
                excludes_changes_from_older_checkpoints
                changes_come_in_pages_that_cover_everything_once
                replicates_with_a_filter
                a_filter_that_does_not_fit_is_refused
                replicates_in_pages
                replicates_without_checkpoint_filter
                replicates_multiple_updates_within_the_same_checkpoint
                replicating_again_applies_nothing
                replicates_one_model_or_all
                replicating_to_itself_is_refused
                between_two_remote_replicas_conflicts_are_reported_loose
                a_lost_message_is_made_good_by_the_next_run
                replicating_both_ways_comes_to_rest
            }
            detect {
                detects_create_update_upsert_and_delete
                detects_writes_of_many_records
                what_does_not_differ_is_no_change
                a_pull_leaves_local_fields
                find_last_change_tells_kind_and_revisions
                a_change_names_its_writer_wherever_it_goes
                rectify_change_makes_a_record_travel
                rectify_all_changes_leaves_what_is_tracked
                update_last_change_takes_away_the_conflict
                detects_changes_of_every_model
            }
            conflicts {
                both_updated
                source_deleted
                target_deleted
                both_deleted_is_no_conflict
                both_created
                the_same_content_is_no_conflict
                made_anew_against_updated
                swap_parties_turns_source_and_target_round
                a_pull_by_replicate_files_the_conflict_at_the_target
                update_against_update_resolved_every_way
                delete_against_update_resolved_every_way
                update_against_delete_resolved_every_way
                a_value_that_does_not_fit_resolves_nothing
                a_resolution_goes_by_replicate_too
                fields_in_dispute_are_named
                conflicts_hold_nothing_else_up
                a_conflict_that_stands_is_reported_by_every_sync
                bulk_update_tells_conflicts
                diff_names_deltas_and_conflicts
                a_change_after_the_diff_is_not_overwritten
            }
            relay {
                replicates_new_models
                propagates_updates_with_no_false_conflicts
                propagates_deletes_with_no_false_conflicts
                replicates_checkpoint_after_checkpoint
                bidirectional_sync_propagates_create
                bidirectional_sync_propagates_create_and_update
                bidirectional_sync_propagates_delete
                does_not_report_false_conflicts
                work_goes_to_and_fro_without_conflict
                the_server_edits_too
                update_conflict_resolved_using_ours
                update_conflict_resolved_using_theirs
                update_conflict_resolved_manually
                delete_conflict_resolved_using_ours
                delete_conflict_resolved_using_theirs
                delete_conflict_resolved_as_manual_delete
                delete_conflict_resolved_manually
            }
            permission {
                rule_permission_in_the_transaction_a_reader_writes_nothing
                rule_permission_in_the_transaction_a_stranger_learns_nothing
                rule_permission_in_the_transaction_a_guard_sees_before_and_after
                a_guard_that_panics_refuses
                a_model_without_a_right_is_not_there
                a_right_that_is_given_again_skips_nothing
                what_others_wrote_takes_the_right_to_replicate
                nobody_speaks_for_the_next_edit_of_another
                a_replica_id_belongs_to_who_used_it_first
                a_replica_id_stays_whose_it_is_under_a_new_name
                nobody_pushes_in_the_name_of_the_server
                server_fields_stay_the_servers
            }
            races {
                rule_permission_in_the_transaction_a_thousand_edits_race_a_change_of_owner
            }
            aftermath {
                what_was_replicated_and_deleted_is_told
                what_ceased_to_match_leaves_with_a_comparison
                what_was_unsubscribed_while_the_peer_was_rolled_back_leaves
                what_was_unsubscribed_and_not_sent_leaves
                a_page_goes_under_the_name_that_it_was_made_under
                a_new_name_is_taken_once
                what_was_compared_stays_what_it_was_under_a_new_name
            }
            moves {
                a_record_that_moves_leaves_the_devices_that_only_had_its_scope
                a_record_that_comes_back_stays
                a_pending_edit_of_a_record_that_left_is_reported
                a_record_that_left_stays_while_others_need_it
                what_moved_and_was_deleted_out_of_reach_is_gone
                what_leaves_is_told_to_who_watches
                another_rule_moves_what_nobody_wrote
                what_left_before_a_scope_was_granted_is_not_told
                what_left_out_of_reach_is_looked_for
                what_leaves_in_a_group_larger_than_a_page_leaves
                what_left_goes_when_the_peer_knows_the_edit
                what_could_not_be_read_for_a_moment_is_not_gone
                what_left_goes_once_it_is_decided
                what_was_not_looked_for_in_time_is_looked_for_later
                what_was_purged_and_not_looked_for_in_time_is_looked_for_later
                what_left_a_replica_leaves_those_behind_it
                what_leaves_a_replica_later_leaves_those_behind_it_too
                what_may_not_be_read_just_now_is_not_gone
            }
            scopes {
                rule_permission_in_the_transaction_nobody_writes_into_the_scope_of_another
                a_pull_brings_what_is_in_the_callers_scopes
                a_scope_that_is_granted_later_is_brought_from_its_beginning
                a_scope_revoked_and_granted_again_skips_nothing
                a_first_pull_brings_no_tombstone
                who_got_no_answer_is_told_that_the_record_is_gone
                a_tombstone_comes_to_those_who_had_the_record
                what_is_in_another_scope_cannot_be_asked_for
                what_is_in_another_scope_cannot_be_found_out_by_pushing
                a_method_tells_the_scope
                a_scope_moves_only_those_who_may_read_it
                another_rule_moves_what_is_there
                what_was_deleted_before_it_arrived_can_be_made_anew
            }
            purging {
                tombstones_go_after_the_retention_never_earlier
                what_all_have_seen_goes_after_the_retention
                a_device_that_was_away_too_long_compares_everything
                what_was_purged_does_not_come_back
                what_was_purged_does_not_come_back_from_who_wrote_it
                a_pull_in_many_pages_passes_the_horizon
                exits_go_with_the_tombstones
                another_filter_passes_the_horizon
                a_scope_that_was_out_of_reach_passes_the_horizon
                what_moved_to_where_it_is_not_wanted_leaves_with_the_comparison
                a_delete_that_no_peer_has_is_never_purged
                a_delete_that_was_refused_is_not_purged
                what_left_is_told_for_a_week
                what_comes_back_after_its_tombstone_is_newer_than_it
                a_server_under_a_new_name_knows_who_pushed_before
            }
            calls {
                read_gives_records_with_their_changes
                write_is_tracked_at_the_target
                write_refuses_another_id
                a_value_that_no_store_holds_is_refused_where_it_is_written
                watch_tells_what_others_commit
                describe_names_replica_limits_and_models
                create_updates_gives_what_is_there_now
                an_unknown_model_is_named
                a_closed_workspace_says_so
                a_sync_with_itself_is_refused
                an_unreachable_peer_is_said
                push_only_and_pull_only
            }
            clocks {
                a_fast_clock_is_corrected
                the_correction_outlives_a_restart
                a_clock_that_jumps_ahead
                edits_after_the_correction_are_newer
                a_little_ahead_is_accepted
                a_slow_clock_edits_on_top
                a_clock_that_stands_still
                equal_stamps
                a_slow_server_locks_nobody_out
                a_pulled_stamp_from_the_future_goes_on
            }
            drift {
                an_old_app_keeps_the_fields_of_a_new_server
                fields_ride_along_through_an_old_server
                a_new_required_field_has_its_default
                a_new_app_pulls_from_an_old_server
                a_required_field_without_default_is_refused_by_name
                an_updated_app_finds_the_fields_that_rode_along
                a_model_that_is_added_later_gets_its_records
                a_conflict_across_versions_is_resolved_without_erasing
                a_field_added_to_a_store_with_records
                a_field_of_another_type_is_refused_by_name
                a_removed_field_is_kept_by_an_old_app
            }
            groups {
                three_models_are_pushed_together
                three_models_are_pulled_together
                a_group_of_many_pages_is_pushed_together
                a_group_of_many_pages_is_pulled_together
                a_group_stays_whole_on_its_way_on
                a_group_is_pushed_together_over_restarts
                a_group_is_pulled_together_over_restarts
                a_page_ends_where_a_group_ends
                an_edit_before_the_push_leaves_the_group
                an_edit_between_the_parts_of_a_push
                an_edit_between_the_parts_of_a_pull
                a_group_whose_rest_is_overtaken_is_not_stuck
                a_conflict_in_a_group_holds_up_its_record_only
                a_transaction_is_all_or_nothing
                a_transaction_sees_its_own_writes
                replicate_keeps_groups_whole
                replicate_keeps_a_group_whole_that_a_record_leaves
            }
            history {
                a_checkpoint_that_is_made_up_changes_no_name
                rule_one_replica_id_one_history_a_copy_takes_a_new_name
                rule_one_replica_id_one_history_a_copy_in_conflict
                rule_one_replica_id_one_history_a_copy_that_only_reads
                rule_one_replica_id_one_history_a_restored_device_gets_back_what_it_sent
                rule_one_replica_id_one_history_a_restored_device_overwrites_nothing
                rule_one_replica_id_one_history_restored_by_hand
                rule_one_replica_id_one_history_a_new_name_has_pulled_what_the_old_one_did
                rule_one_replica_id_one_history_a_new_name_before_the_first_sync
                rule_one_replica_id_one_history_a_refusal_goes_over_to_the_new_name
                rule_one_replica_id_one_history_unsent_deletes_are_kept
                rule_one_replica_id_one_history_a_rolled_back_server_gets_back_what_it_lost
                rule_one_replica_id_one_history_a_rolled_back_server_that_wrote_on
                rule_one_replica_id_one_history_others_give_back_what_a_server_lost
                rule_one_replica_id_one_history_a_wiped_server_gets_everything
                rule_one_replica_id_one_history_a_wiped_device_gets_everything
                rule_one_replica_id_one_history_with_two_servers
            }
            given_back {
                what_others_gave_back_is_refused_no_more
                what_left_a_rolled_back_server_is_looked_for_after_the_push
            }
            filters {
                what_waited_under_another_filter_stays
                only_what_matches_comes
                what_does_not_match_any_more_leaves
                an_own_edit_is_sent_before_its_record_leaves
                an_edit_meanwhile_is_not_lost
                another_filter_compares_and_sends_what_is_lacking
            }
            live {
                keep_in_sync_starts_at_once
                keep_in_sync_hears_of_writes_of_the_peer
                the_connection_says_how_it_stands
                keep_in_sync_syncs_after_a_local_write
                keep_in_sync_pulls_from_time_to_time
                keep_in_sync_rests_where_there_is_nothing_to_do
                keep_in_sync_backs_off_after_failures
                keep_in_sync_can_be_hurried_after_a_failure
                keep_in_sync_one_way_only_sends
                keep_in_sync_ends_when_dropped
                keep_in_sync_tells_what_came_of_each_sync
                one_sync_of_a_pair_at_a_time
                keep_in_sync_goes_on_over_conflicts
                watch_tells_local_writes_in_order
                watch_tells_what_a_sync_brought
                watch_is_woken
                watch_tells_many_in_batches
                watch_ends_when_the_workspace_is_closed
            }
            pages {
                a_page_too_large_is_halved
                a_record_too_large_is_parked
                a_record_too_large_is_parked_alone_of_its_transaction
                rule_frozen_page_is_sent_again_unchanged
                rule_frozen_page_the_sent_state_is_the_base
                rule_frozen_page_gives_a_conflict_its_base
                rule_frozen_page_outlives_a_restart
                rule_frozen_page_outlives_a_pull_over_it
                rule_frozen_page_outlives_a_resolution
                rule_frozen_page_over_a_line_that_fails_everywhere
                rule_frozen_page_that_comes_late_has_no_effect
                rule_exact_patch_only_what_changed_travels
                rule_exact_patch_on_what_the_peer_brought
                rule_exact_patch_needs_whole_where_the_target_moved
                rule_exact_patch_is_refused_on_an_ancestor
                rule_no_echo_no_starvation_nothing_goes_back
                rule_no_echo_no_starvation_what_changed_goes_back
                rule_no_echo_no_starvation_a_join_goes_back
                rule_no_echo_no_starvation_behind_many_of_ones_own
                pages_keep_the_limits_of_the_peer
                pages_are_bounded_in_bytes
                a_page_above_the_limit_is_refused
                rule_one_replica_id_one_history_page_numbers
                an_exchange_for_another_does_nothing
                rule_durable_before_seen_a_page_is_frozen_first
            }
            keeping_both {
                both_records_stay_each_with_its_children
                children_that_clash_too_are_kept_twice_in_any_order
                what_names_itself_or_the_record_names_the_new_id
                a_child_that_the_peer_wrote_too_stays_with_the_peers_record
                children_written_under_a_former_name_go_along
                what_stays_on_the_device_goes_along
                it_is_refused_where_something_would_be_lost
            }
            parents {
                rule_parents_first_a_push_brings_parents_along
                rule_parents_first_a_parent_that_is_there_is_not_sent_again
                rule_parents_first_a_pull_brings_parents_along
                rule_parents_first_a_parent_comes_with_its_group
                rule_frozen_page_with_a_parent_is_sent_again_unchanged
                rule_frozen_page_a_parent_sent_early_is_a_base
                rule_one_replica_id_one_history_a_parent_sent_early
                rule_parents_first_within_the_limits_of_a_page
                rule_parents_first_the_order_in_a_page
                rule_parents_first_in_a_circle
                rule_parents_first_a_delete_waits_for_a_later_page
                rule_parents_first_a_child_that_is_kept_brings_the_parent_back
                rule_parents_first_a_delete_that_is_kept_takes_the_child_along
                rule_parents_first_a_delete_waits_no_longer_than_its_child
                rule_parents_first_a_parent_made_anew_waits_no_longer
            }
            poison {
                a_refused_record_is_parked_and_the_others_flow
                a_refused_record_is_not_sent_again_by_itself
                an_edit_clears_the_entry
                a_fine_record_made_poison_is_cured_again
                deleting_the_refused_record_clears_the_entry
                a_retry_clears_the_entry_once_the_target_is_lenient
                a_refusal_whose_answer_was_lost_is_told_again
                a_record_refused_on_pull_is_parked
                an_edit_over_a_state_refused_here_overwrites_nothing
                a_local_write_is_refused_at_once
                a_record_above_the_limit_is_parked
                a_model_that_the_target_lacks_holds_nothing_else_up
                the_four_statuses
                pending_names_what_is_to_be_sent
            }
            settling {
                resolving_what_moved_here_is_refused
                resolving_what_moved_there_is_refused
                resolving_twice_is_refused
                a_resolution_overwrites_no_later_edit
                a_conflict_resolved_elsewhere_disappears
                one_conflict_on_two_devices_is_resolved_once
                a_record_in_conflict_stays_usable
                conflicts_survive_reopening
                an_idle_sync_leaves_the_conflict
                both_sides_becoming_equal_settles_it
                both_sides_deleting_settles_it
                the_base_is_kept_while_the_conflict_waits
                rule_exact_base_through_a_third_replica
                rule_exact_base_there_is_none_after_two_merges
                rule_exact_base_after_a_resolution
            }
            merging {
                edits_of_different_fields_both_stand
                every_policy_decides_its_field
                rule_exact_base_votes_of_a_lost_answer_count_once
                rule_exact_base_votes_under_a_new_name_count_once
                equal_increments_are_two
                last_write_goes_by_the_stamp_of_the_field
                last_write_goes_by_the_stamp_of_the_field_after_a_delete
                last_write_goes_by_the_stamp_of_the_field_after_a_new_revision
                last_write_goes_by_the_stamp_of_the_field_in_a_join
                rule_exact_base_without_one_nothing_is_counted
                without_an_upstream_people_decide
                a_merge_function_that_fails_parks_its_record
                an_overflow_is_a_conflict
                a_merge_that_equals_the_newer_side_makes_no_revision
                the_same_merge_at_two_places_is_one
                rule_exact_base_of_merges_that_came_to_different_sides
                a_conflict_is_resolved_field_by_field
                a_delete_against_an_edit_by_policy
                random_merges_end_level
                a_merge_settles_a_conflict_that_stood
            }
            scenarios {
                an_update_that_arrives_weeks_late
                deleted_on_the_server_while_edited_offline
                edited_on_the_server_while_deleted_offline
                both_deleted
                both_created_the_same_id
                the_same_field_to_the_same_value
                last_writer_wins_with_a_clock_that_is_right
                last_writer_wins_with_a_clock_an_hour_slow
                last_writer_wins_with_a_clock_an_hour_fast
                last_writer_wins_with_a_clock_at_zero
                the_server_edits_the_record_while_it_is_pushed
                a_conflict_resolved_on_one_device_disappears_from_the_others
                an_authoritative_server_settles_every_conflict
            }
            incoming {
                a_ruling_amends_an_update
                what_changes_nothing_is_not_asked_about
                a_ruling_amends_a_new_record
                a_ruling_settles_a_conflict
                a_ruling_deletes
                a_ruling_refuses_one_record
                rule_one_revision_one_content_a_ruling_after_a_lost_answer
                an_edit_during_a_ruling_is_merged
                a_refused_record_is_reverted_or_tried_again
            }
            sharing {
                devices_hold_just_their_scopes_whatever_happens
                no_edit_is_lost_on_shared_devices_whatever_happens
            }
            statuses {
                records_are_listed_by_status
                pending_is_exact_and_can_be_exported
                a_change_of_status_is_told
                conflicts_are_watched
            }
            subscriptions {
                what_is_wanted_again_while_its_edit_is_sent_stays
                who_may_subscribe_later_keeps_what_is_wanted
                a_subscription_brings_its_scopes_and_no_others
                a_scope_that_is_added_comes_and_one_that_is_taken_out_leaves
                an_edit_of_what_is_not_wanted_any_more_is_sent_first
                a_record_that_moves_out_of_what_is_wanted_leaves
                a_subscription_allows_nothing
                what_was_written_here_comes_back_when_it_is_wanted_again
                what_is_written_into_what_is_not_wanted_is_sent_and_leaves
                what_is_not_wanted_any_more_leaves_with_a_comparison
            }
            topology {
                every_kind_of_change_reaches_everyone
                work_that_goes_round_is_no_conflict
                rule_no_echo_no_starvation_in_a_ring
                a_conflict_resolved_once_is_gone_everywhere
                three_edits_at_once_are_settled
                equal_edits_at_three_places_join
                a_transaction_goes_round_as_a_whole
                random_work_ends_level
            }
        }
    };
}

/// The list of the cases that need SQL.
#[doc(hidden)]
#[macro_export]
macro_rules! __sql_pair_cases {
    ([$($with:tt)*] [$($argument:tt)*]) => {
        $($with)*! {
            [$($argument)*]
            sql {
                what_a_trigger_writes_during_a_pull_is_pushed
                what_was_refused_and_left_does_not_come
                rule_parents_first_in_a_page
                rule_parents_first_deletes_go_children_first
                rule_parents_first_over_pages_of_a_pull
                rule_parents_first_a_pulled_orphan_waits
                rule_parents_first_over_pages_of_a_push
                rule_parents_first_a_pushed_orphan_is_parked
                rule_parents_first_with_foreign_keys
                rule_parents_first_rejected_only_at_the_end_of_a_pull
                rule_parents_first_a_cascade_swallows_no_unsent_child
                rule_parents_first_a_cascade_at_the_server_swallows_no_unsent_edit
                rule_parents_first_a_child_without_parent_is_one_conflict
                rule_frozen_page_outlives_a_refused_pull
                keeping_both_keeps_foreign_keys
                a_local_write_that_a_constraint_refuses
                rule_parents_first_a_parents_tombstone_waits
                rule_one_revision_one_content_a_trigger_amends_a_push
                rule_one_revision_one_content_after_a_lost_answer
                rule_one_revision_one_content_a_trigger_amends_a_pull
                writes_of_other_programs_travel
                rule_exact_base_an_edit_by_another_program_has_one
                last_write_goes_by_the_stamp_of_another_program
            }
        }
    };
}

__pair_cases! { [define_cases] [cases CASES] }
__sql_pair_cases! { [define_cases] [sql_cases SQL_CASES] }
