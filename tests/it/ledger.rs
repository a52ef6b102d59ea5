//! Every promise of a ledger, on PostgreSQL and on SQLite.

use std::path::Path;

use postworks::ledger::{Db, SqlLedger};
use postworks::testing::ledger as promise;
use postworks::testing::postgres_server::PostgresServer;

async fn embedded(folder: &Path) -> SqlLedger {
    let db = Db::open_sqlite(&folder.join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    SqlLedger::new(db)
}

macro_rules! promises {
    ($($name:ident,)*) => {
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let server = PostgresServer::launch().await;
                    promise::$name(&SqlLedger::new(server.db().await)).await;
                }
            )*
        }

        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    promise::$name(&embedded(folder.path()).await).await;
                }
            )*
        }
    };
}

promises! {
    an_enqueue_is_all_or_nothing,
    what_is_wanted_of_a_queue_is_kept_until_somebody_wants_otherwise,
    a_wish_is_told_until_the_broker_has_the_last_one,
    a_dropped_transaction_enqueues_nothing,
    a_unique_key_gives_the_first_jobs_id_while_it_lives,
    of_one_key_in_one_call_the_first_job_wins,
    an_enqueue_repeated_after_a_lost_reply_makes_no_second_job,
    a_dead_job_does_not_hold_its_unique_key,
    a_hundred_concurrent_enqueues_of_one_key_make_one_job,
    a_key_that_changes_hands_is_never_held_twice,
    callers_that_share_a_commit_get_their_own_answers,
    a_key_held_until_the_start_is_free_while_the_job_runs,
    a_key_of_a_period_outlasts_the_completed_job,
    only_a_completed_job_holds_the_key_of_a_period,
    a_debounced_job_runs_with_the_last_arguments,
    a_replacement_repeated_after_a_lost_reply_changes_nothing,
    debounced_jobs_of_one_key_in_one_call_are_one_job,
    what_was_not_made_to_be_replaced_stays_as_it_is,
    a_dead_job_is_put_back_unless_another_waits_with_its_key,
    a_cleanup_leaves_what_holds_a_key,
    a_start_and_a_replacement_come_one_after_the_other,
    calls_that_free_and_replace_the_same_keys_do_not_deadlock,
    a_settle_repeated_after_a_lost_reply_counts_once,
    a_repeated_verdict_does_not_undo_what_happened_since,
    a_zombie_cannot_settle_a_job_that_was_stamped_by_another,
    two_verdicts_of_one_job_in_one_call_follow_each_other,
    a_later_generation_outranks_every_earlier_claim,
    a_cancelled_job_stays_cancelled_whatever_its_worker_says,
    a_stamp_tells_where_the_job_stands,
    a_claim_that_was_settled_is_spent,
    a_death_the_ledger_knew_nothing_of_is_recorded,
    any_words_can_be_recorded,
    two_reconcilers_bump_once,
    a_started_job_is_kept_for_its_worker_after_a_bump,
    a_wrong_clock_keeps_no_job_from_its_next_worker,
    a_worker_learns_whether_a_run_is_still_its_own,
    batches_that_overlap_do_not_deadlock,
    a_crash_is_counted_once_a_claim_however_often_it_is_reported,
    a_count_is_taken_back_once_when_the_worker_lives_after_all,
    a_run_that_ends_in_good_order_forgives_earlier_crashes,
    a_crash_after_the_verdict_or_of_an_older_claim_does_not_count,
    generations_never_repeat,
    a_child_waits_for_the_end_of_every_parent_and_is_told_of_each,
    a_child_fails_with_the_first_parent_that_does_not_complete,
    diamonds_and_chains_start_in_their_order,
    children_are_let_go_once_however_many_tell_them,
    a_family_enqueued_again_is_the_same_family,
    who_comes_after_the_end_of_its_parents_does_not_wait,
    a_job_cannot_wait_for_what_is_not_there_or_has_failed,
    a_waiting_child_holds_its_key_and_can_be_cancelled,
    nothing_but_its_parents_lets_a_waiting_child_go,
    a_cleanup_leaves_parents_whose_end_was_not_told,
    what_a_person_puts_back_runs,
    the_end_of_a_parent_wakes_who_tells_children,
    a_redriven_job_has_all_its_attempts_again,
    a_redrive_never_takes_a_unique_key_from_a_live_job,
    a_job_keeps_its_callers_trace,
    a_redrive_pressed_twice_puts_each_job_back_once,
    a_parked_job_waits_for_its_account_or_its_time,
    jobs_that_wait_for_a_person_outlive_a_weekend,
    a_job_parked_for_a_newer_worker_is_released_by_one,
    open_jobs_walks_every_live_job_once,
    live_jobs_are_read_in_the_order_of_their_turns,
    those_that_overtake_are_found_when_they_fall_due,
    a_row_nobody_can_read_does_not_hide_the_others,
    what_an_operator_did_is_kept_word_for_word,
    a_cancellation_and_its_audit_are_one,
    a_redrive_in_steps_has_one_audit_that_adds_up,
    causes_are_listed_most_numerous_first,
    dead_letters_are_found_by_account_and_time,
    a_discarded_letter_is_gone_for_good,
    a_job_remembers_from_which_deaths_it_was_put_back,
    what_made_a_dead_job_needless_is_found,
    a_redrive_knows_what_came_back,
    a_redrive_is_carried_on_by_one_and_stopped_by_a_person,
    a_dead_job_is_put_back_with_other_arguments,
    a_cleanup_deletes_only_what_ended_before,
    a_cleanup_leaves_what_operators_do_now,
    a_moved_job_is_due_at_its_new_time,
    a_move_takes_a_job_out_of_the_hands_of_its_worker,
    a_verdict_repeated_after_a_move_does_not_undo_it,
    only_live_jobs_are_moved,
    a_parked_job_that_is_moved_stays_parked,
    jobs_are_listed_newest_first_page_by_page,
    dead_letters_are_grouped_counted_and_filtered,
}
