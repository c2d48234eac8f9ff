//! The suite that every store must pass: one `#[test]` for each case, by [`store_conformance!`](crate::store_conformance).

// A case that is not in the list below is never called, and must not compile.
#![deny(dead_code)]

mod atomic;
mod bases;
mod composite;
mod crud;
mod erase;
mod expect;
mod feed;
mod isolation;
mod models;
mod notes;
mod prepare;
mod put;
mod query;
mod repair;
mod stamps;
mod suite;
mod tracking;
mod types;

use std::sync::Arc;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::Store;

pub use suite::Suite;

/// Makes the stores that the suite runs on; each case has a factory of its own.
///
/// Whatever a store leaves behind (files, databases) goes when the factory is dropped.
#[sync_runtime::async_trait]
pub trait StoreFactory: Send + 'static {
    /// A fresh, empty store that nobody has prepared yet. Called once.
    async fn open(&mut self) -> Arc<dyn Store>;

    /// Closes this store, the only handle on it, and opens what it wrote again.
    ///
    /// Returns `None` if its stores do not outlive their process; the cases about reopening then end early.
    async fn reopen(&mut self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>>;

    /// Whether a reading transaction can run while a writing one is open.
    fn reads_beside_a_writer(&self) -> bool;

    /// Whether [`Store::version`] stays as it is while nobody commits to this store. One that shares a database with
    /// others may be woken by them.
    fn tells_only_of_its_own_commits(&self) -> bool {
        true
    }

    /// Sets or removes the row of a record and leaves its change as it is, as plain SQL does where triggers are off.
    ///
    /// Returns false if no program can do that to such a store; the cases about repair then end early.
    async fn write_untracked(
        &mut self,
        store: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> bool;

    /// Makes the store refuse two records with the same value in this field of this model, whose table is empty.
    ///
    /// Returns false if the store has no constraints; the cases about them then end early.
    async fn make_unique(
        &mut self,
        store: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        field: usize,
    ) -> bool;
}

/// Runs the whole suite on the stores of a [`StoreFactory`]: one `#[test]` for each case, in a module for each topic.
///
/// The argument is an expression that makes a factory; every test evaluates it once. Futures run on a small
/// executor without a runtime, so a store must bring its own threads.
///
/// ```
/// # use std::sync::Arc;
/// # use sync_runtime::{Id, ModelSchema, Record, store::Store};
/// # use sync_store_memory::MemoryStore;
/// # use sync_testkit::StoreFactory;
/// struct Memory;
///
/// #[sync_runtime::async_trait]
/// impl StoreFactory for Memory {
///     async fn open(&mut self) -> Arc<dyn Store> {
///         Arc::new(MemoryStore::new())
///     }
///     // …
/// #   async fn reopen(&mut self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> { None }
/// #   fn reads_beside_a_writer(&self) -> bool { false }
/// #   async fn write_untracked(&mut self, _: &Arc<dyn Store>, _: &'static ModelSchema, _: &Id, _: Option<Record>) -> bool { false }
/// #   async fn make_unique(&mut self, _: &Arc<dyn Store>, _: &'static ModelSchema, _: usize) -> bool { false }
/// }
///
/// sync_testkit::store_conformance!(Memory);
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($factory:expr) => {
        $crate::__store_cases! { [$crate::__store_tests] [$factory] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    ([$factory:expr] $($topic:ident { $($case:ident)* })*) => {
        $(mod $topic {
            #[allow(unused_imports, reason = "the factory may be named by a path of its own")]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::conformance::cases::$topic::$case(::std::boxed::Box::new($factory));
            })*
        })*
    };
}

macro_rules! define_cases {
    ([] $($topic:ident { $($case:ident)* })*) => {
        /// What the tests call.
        #[doc(hidden)]
        pub mod cases {
            $(pub mod $topic {
                $(pub fn $case(factory: Box<dyn crate::conformance::StoreFactory>) {
                    pollster::block_on(async {
                        let mut suite = crate::conformance::Suite::start(factory).await;
                        crate::conformance::$topic::$case(&mut suite).await;
                    });
                })*
            })*
        }

        /// The names of all cases, as `topic::case`.
        pub const CASES: &[&str] = &[$($(concat!(stringify!($topic), "::", stringify!($case)),)*)*];
    };
}

/// The list of all cases: it defines what the tests call, and it expands to the tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ([$($with:tt)*] [$($argument:tt)*]) => {
        $($with)*! {
            [$($argument)*]
            atomic {
                an_error_after_any_call_undoes_them_all
                what_is_kept_as_base_is_undone_with_its_transaction
                a_transaction_sees_what_it_wrote
                work_gives_back_what_it_returned
                a_store_goes_on_after_a_failed_transaction
                a_reading_transaction_cannot_write
                long_and_durable_transactions_do_the_same
                the_version_differs_after_every_commit
                a_transaction_once_begun_outlives_its_caller
                an_error_in_a_batch_leaves_no_half_of_it
            }
            bases {
                a_store_starts_without_keeping_any
                a_state_through_the_position_is_kept
                a_state_that_a_peer_brought_is_kept_wherever_it_stands
                nothing_is_kept_when_nothing_is_asked_for_any_more
                rule_frozen_page_keeps_what_was_sent_at_the_first_edit_only
                each_state_that_was_sent_is_kept
                two_edits_in_one_transaction_keep_the_first_state
                a_delete_keeps_the_state_that_it_ends
                a_record_made_again_keeps_the_tombstone
                a_first_write_has_nothing_to_keep
                a_base_is_the_whole_state_without_local_fields
                a_local_edit_keeps_nothing
                a_state_that_is_put_keeps_nothing
                a_state_that_is_put_leaves_the_bases_that_are_there
                bases_are_asked_for_by_record
                bases_are_asked_for_by_the_position_of_their_state
                bases_are_dropped_by_what_overwrote_them
                dropping_some_bases_of_a_record_leaves_the_others
                bases_can_be_given
                a_base_of_the_same_revision_and_position_is_replaced
                a_state_that_came_again_is_kept_at_both_positions
                what_is_asked_for_and_kept_outlives_a_restart
            }
            composite {
                an_id_of_several_fields_is_one_text_in_changes
                each_id_of_several_fields_finds_its_own_record
                a_record_is_updated_deleted_and_made_again
                a_record_may_be_nothing_but_its_id
                expectations_hold_for_ids_of_several_fields
                an_id_that_no_record_can_have_finds_nothing
                queries_order_by_the_fields_of_the_id
                pages_follow_the_fields_of_the_id
                a_state_stands_as_given_under_its_id
                a_long_run_of_states_stands_as_given
                a_tombstone_removes_only_its_record
                bases_are_kept_under_the_id
                what_is_not_tracked_is_found_and_tracked
                what_is_not_tracked_is_found_in_pages
                fields_keep_their_stamps_under_the_id
                an_added_field_takes_over_what_was_sent
                everything_outlives_a_restart
            }
            crud {
                a_fresh_store_is_empty
                creating_makes_the_record_and_its_change
                updating_replaces_every_field
                deleting_leaves_a_tombstone_and_no_record
                a_deleted_record_can_be_made_again
                records_come_in_the_order_of_the_ids
                changes_come_in_the_order_of_the_ids
                states_come_in_the_order_of_the_ids_without_local_fields
                states_come_as_long_as_there_is_room_for_them
                writes_of_one_batch_see_the_ones_before
                a_write_that_was_not_done_leaves_the_others
                an_empty_batch_does_nothing
                saving_the_same_again_makes_no_change
                a_local_field_is_saved_without_a_change
                a_local_field_rides_along_with_a_change
                an_absent_local_field_stays_as_it_was
                an_absent_field_of_a_new_record_takes_its_default
                a_write_without_a_required_field_is_refused_by_name
                a_difference_of_one_bit_is_a_change
                ids_of_text_are_told_apart_to_the_byte
                ids_of_numbers_reach_both_ends
                ids_of_uuids_reach_both_ends
                models_are_kept_apart
                a_large_batch_is_saved_and_read
                a_model_that_was_not_prepared_is_refused_by_name
            }
            expect {
                saving_with_any_expectation_writes_in_every_situation
                saving_what_must_be_absent_does_not_touch_a_live_record
                saving_what_must_be_present_needs_a_live_record
                saving_at_a_revision_needs_exactly_that_revision
                deleting_with_any_expectation_needs_a_live_record
                deleting_what_must_be_absent_never_deletes
                deleting_what_must_be_present_needs_a_live_record
                deleting_at_a_revision_needs_exactly_that_revision
            }
            feed {
                changes_come_by_position
                changes_start_after_a_position
                changes_end_through_a_position
                changes_are_limited
                changes_stop_before_the_bytes_asked_for
                a_record_larger_than_the_bytes_comes_alone
                bytes_do_not_count_where_no_records_are_read
                tombstones_take_no_bytes
                what_a_peer_brought_does_not_go_back_to_it
                what_is_left_out_does_not_count_towards_the_limit
                what_is_left_out_takes_no_bytes
                one_model_may_be_asked_for
                records_come_only_if_asked_for_and_without_local_fields
                changes_come_with_everything_about_them
                paging_gives_every_change_once
                a_write_between_two_pages_comes_in_a_later_one
            }
            isolation {
                writers_do_not_lose_each_others_increments
                writers_on_threads_do_not_lose_each_others_increments
                readers_on_threads_see_transactions_whole
                a_reader_keeps_its_snapshot_while_a_writer_commits
                nobody_reads_what_is_not_committed
                a_writer_waits_for_the_one_before
            }
            erase {
                what_is_gone_leaves_no_trace
                what_is_there_stays
                no_position_is_given_out_twice
                what_was_erased_can_be_made_anew
                erasing_rolls_back
            }
            notes {
                a_note_is_set_replaced_and_removed
                rooms_are_kept_apart
                notes_come_by_the_bytes_of_their_keys
                a_prefix_is_no_pattern
                a_prefix_may_end_in_the_last_character
                a_note_holds_any_bytes
                a_transaction_sets_many_notes
                notes_come_behind_a_key_up_to_a_limit
                notes_come_by_their_keys
                many_notes_are_set_at_once
                notes_outlive_a_restart
            }
            prepare {
                preparing_again_changes_nothing
                a_model_may_come_later
                an_added_field_has_its_default_in_older_records
                an_added_field_is_written_and_tracked
                an_added_field_takes_over_what_a_peer_had_sent
                an_added_field_has_its_default_in_older_bases
                a_field_added_between_two_starts_has_its_default
                an_added_field_without_default_is_refused_by_name
                everything_outlives_a_restart
                what_was_rolled_back_does_not_come_back
                a_store_goes_on_after_a_restart
                every_commit_outlives_a_restart
            }
            put {
                a_state_stands_as_given
                the_ancestry_of_many_writers_stands_as_given
                a_state_takes_the_next_position_whatever_it_says
                a_state_put_again_takes_a_new_position
                one_call_may_put_a_record_twice
                an_older_state_may_be_put_over_a_newer_one
                local_fields_stay_under_a_state
                local_fields_of_a_new_record_take_their_defaults
                local_fields_go_with_a_tombstone
                absent_fields_that_travel_take_their_defaults
                a_state_without_a_required_field_is_refused_by_name
                a_group_is_named_by_the_first_state_that_was_stored
                a_tombstone_removes_the_record
                a_tombstone_of_a_record_that_never_was_is_kept
                a_tombstone_may_be_put_over_a_tombstone
                a_record_may_be_put_over_a_tombstone
                groups_are_numbered_anew_by_runs
                groups_of_two_calls_are_two
                a_state_is_not_tracked_once_more
                a_long_run_of_new_records_stands_as_given
                a_long_run_may_meet_records_and_tombstones
                a_unique_field_refuses_one_of_a_long_run
                a_unique_field_refuses_a_write_by_itself
                a_unique_field_refuses_a_state_by_itself
                a_refused_update_leaves_the_record_as_it_was
            }
            query {
                bools_compare
                small_integers_compare
                integers_compare
                floats_compare_and_both_zeros_are_one
                floats_of_32_bits_compare
                text_compares_by_bytes
                bytes_compare
                uuids_compare
                timestamps_compare
                dates_compare
                decimals_compare_as_numbers
                json_compares_by_its_text
                null_equals_null_and_is_less_than_nothing
                one_of_finds_each_value
                one_of_takes_many_values
                contains_is_no_pattern_and_minds_case
                nothing_and_everything_combine
                records_without_order_come_by_id
                records_of_equal_order_come_by_id
                records_are_cut_by_skip_and_limit
                deleted_records_are_not_found
                local_fields_are_queried_too
                random_selections_agree_with_the_oracle
            }
            repair {
                a_store_in_order_has_nothing_to_repair
                what_is_not_tracked_is_found
                what_is_not_tracked_is_read_as_it_is
                a_record_without_change_is_tracked_as_created
                a_record_under_a_tombstone_is_tracked_as_created_again
                a_record_that_is_gone_gets_a_tombstone
                one_repair_is_enough
                a_table_with_data_in_it_can_be_adopted
            }
            stamps {
                a_record_that_nobody_edited_has_none
                a_field_that_is_written_has_none
                a_field_that_stays_keeps_the_stamp_of_its_last_write
                a_difference_of_one_bit_is_a_write
                only_fields_that_merge_by_them_get_any
                a_local_edit_leaves_them
                a_field_left_as_a_peer_wrote_it_keeps_the_peers_stamp
                writes_of_one_transaction_build_on_each_other
                a_delete_drops_them_and_a_record_made_again_has_none
                a_repaired_record_has_none
                a_state_has_those_it_was_put_with
                those_of_any_field_stay_until_it_is_written
                those_of_a_model_that_gives_none_stay_until_the_field_is_written
                a_base_has_those_of_its_state
                a_rollback_brings_them_back
            }
            tracking {
                the_first_write_is_a_create_without_past
                an_update_descends_from_what_it_replaces
                rewriting_ones_own_record_touches_no_vector
                a_clock_that_stands_still_does_not_stop_revisions
                a_clock_that_runs_behind_stamps_above_the_past
                stamps_rise_above_every_entry_of_the_ancestry
                writing_over_a_peers_state_keeps_the_peer_in_the_ancestry
                a_write_with_the_same_content_over_a_peers_state_stays_the_peers
                a_tombstone_descends_from_what_it_deletes
                a_record_made_again_descends_from_its_tombstone
                a_record_made_again_descends_from_a_peers_tombstone
                a_write_forgets_that_the_one_before_was_a_merge
                unknown_fields_stay_until_the_record_is_deleted
                a_transaction_is_one_group_named_by_its_first_change
                a_group_survives_a_record_written_twice
                states_that_were_put_do_not_join_the_group_of_tracked_writes
                positions_follow_the_order_of_writing
                a_record_has_one_change_that_moves_with_each_write
                a_position_is_never_given_out_twice
                a_renamed_store_writes_under_its_new_name
                a_store_renamed_inside_a_transaction_writes_both_names
                every_kind_of_id_is_tracked
            }
            types {
                bools_are_held
                small_integers_are_held_to_their_bounds
                integers_are_held_to_both_ends
                floats_are_held_to_the_bit
                floats_of_32_bits_are_held_to_the_bit
                text_is_held_to_the_byte
                texts_that_look_alike_are_told_apart
                bytes_are_held
                uuids_are_held
                timestamps_are_held_to_the_microsecond
                dates_are_held_to_both_ends
                decimals_are_held_with_their_scale
                json_is_held_with_its_numbers
                null_is_held_and_told_from_empty_values
                the_largest_values_are_held
                many_of_the_largest_values_are_held_together
            }
        }
    };
}

__store_cases! { [define_cases] [] }
