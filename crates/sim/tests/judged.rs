//! Departures that the judge once blamed wrongly, for something that decamp could not know or had reported. Each set of faults comes with
//! the seeds from the first such departure.

use decamp_sim::drivers::Driver;
use decamp_sim::simulate::{Draw, Simulation, simulate};

fn is_clean(faults: &str, seed: u64, departures: u64) {
    let draw: Draw = faults.parse().expect("these are faults");
    let sum = simulate(&Simulation { departures, seed, draw, driver: Driver::Decamp, stop_at_first: false }, |_| ());
    let broken: Vec<_> = sum.broken.iter().map(|one| (one.seed, one.attributable, &one.example, &one.violations)).collect();
    assert!(broken.is_empty(), "{faults}: {broken:?}");
    assert_eq!(sum.departures, departures);
}

#[test]
fn a_kept_connection_dies_behind_a_group_that_shows_no_port() {
    is_clean("last-healthy-target,kept-connections", 1, 220);
    is_clean("target-group-deleted,kept-connections", 1, 220);
}

#[test]
fn a_stale_token_completes_nothing() {
    is_clean("stale-token,heartbeat-times-out,already-draining,drain-hangs,held-for-hours", 500, 110);
}

#[test]
fn a_finding_at_the_deregistration_is_not_forgotten_at_the_drain() {
    is_clean("requests-outlive-the-delay,found-by-scan", 1, 400);
    is_clean("requests-outlive-the-delay,found-by-scan,message-late", 800, 20);
}

#[test]
fn a_worker_without_time_does_not_wait_for_a_dead_agent() {
    is_clean("other-settings-next-time,activities-denied,agent-back-late", 1, 300);
}

#[test]
fn a_leftover_counts_from_the_first_drain_of_any_party() {
    let faults = "drained-by-operator,leftover-registration,two-nodes,long-batch,other-settings-next-time,activities-denied,agent-back-late";
    is_clean(faults, 4500, 10);
}

#[test]
fn a_pass_without_memory_waits_for_a_load_balancers_guard_again() {
    is_clean("leftover-registration", 219_375, 1);
}

#[test]
fn the_outcome_names_what_stops_while_nomad_and_consul_are_away() {
    is_clean("nomad-throttled,consul-vanishes", 200, 300);
    is_clean("leader-lost,drain-answer-lost,consul-away", 5405, 1);
    is_clean("stuck-stop,consul-away", 13_017, 1);
    is_clean("own-addresses,consul-away,completion-answer-lost", 501_123, 1);
}

#[test]
fn the_outcome_names_what_stopped_unseen_with_any_worker_and_any_length() {
    is_clean("consul-away", 726_072, 1);
    is_clean("stuck-stop,consul-vanishes", 1_872_109, 1);
}

#[test]
fn a_hold_leaves_the_time_that_a_raised_delay_takes() {
    is_clean("draining-sticks,held-for-hours", 1_332_435, 1);
}

#[test]
fn a_worker_waits_for_allocations_that_an_earlier_worker_counted_after_its_own_drain() {
    is_clean("target-registered-again,job-purged,strangers-address", 1_839_321, 1);
}

#[test]
fn a_classic_load_balancer_lists_no_instance_that_another_worker_deregistered() {
    is_clean("classic-balancer", 252, 1);
}

#[test]
fn a_hook_that_is_not_named_is_not_completed_while_auto_scaling_is_away() {
    is_clean("stale-token,second-hook,ingress-polls,region-outage,hooks-not-named", 486_459, 1);
}

#[test]
fn a_drain_that_is_sent_again_does_not_forget_a_job_purged_between_two_workers() {
    is_clean("job-purged,no-room-elsewhere", 73_999, 1);
}

#[test]
fn a_group_that_no_longer_lists_the_instance_hides_the_port_to_which_it_still_sends() {
    is_clean("own-addresses,lost-event", 191_556, 1);
}

#[test]
fn an_allocation_that_starts_while_a_load_balancer_is_slow_to_answer_is_seen() {
    is_clean("all", 359_431, 1);
}

#[test]
fn a_target_that_another_worker_deregistered_gets_requests_although_no_list_shows_it() {
    is_clean("all", 1_272_467, 1);
}

#[test]
fn what_an_operators_drain_replaces_is_remembered_and_a_deadline_that_cut_is_named() {
    is_clean("all", 351_845, 1);
    is_clean("all", 414_081, 1);
}

#[test]
fn the_judge_asks_for_nothing_that_no_worker_can_know_or_do() {
    // An instance id in a group of addresses; a hook that begins long after its activity; a worker that goes on after the end.
    is_clean("all", 257_960, 1);
    is_clean("all", 331_686, 1);
    is_clean("all", 2_536_885, 1);
}

#[test]
fn one_that_vanished_is_not_made_up_for_by_one_that_landed() {
    is_clean("all", 2_669_932, 1);
}

#[test]
fn what_nobody_could_note_is_concluded_from_the_live_systems() {
    for seed in [3_138_253, 5_367_337, 6_025_559, 6_179_081, 6_248_518] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn an_outage_that_began_between_two_passes_is_named() {
    for seed in [3_527_842, 4_119_646, 5_238_703] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn what_is_registered_by_hand_is_read_before_the_machine_goes() {
    is_clean("by-hand,consul-away", 300, 40);
    is_clean("all", 3_929_185, 1);
}

#[test]
fn a_target_that_the_first_look_did_not_show_counts_from_the_look_that_shows_it_draining() {
    is_clean("all", 7_676_517, 1);
}

#[test]
fn a_row_with_the_instances_id_that_an_older_agent_left_behind_says_nothing_about_the_live_node() {
    is_clean("all", 3_033_397, 1);
    is_clean("all", 4_144_678, 1);
    is_clean("node-collected,two-nodes,agent-away", 1, 400);
}

#[test]
fn an_agent_that_is_back_is_ready_once_there_is_a_leader() {
    is_clean("all", 4_884_793, 1);
}

#[test]
fn an_answer_that_comes_late_does_not_make_an_older_look_a_new_one() {
    for seed in [4_784_053, 5_046_716] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn a_drain_by_a_worker_whose_server_lags_moves_the_deadline_for_all() {
    is_clean("all", 4_367_225, 1);
}

#[test]
fn nobody_watches_consul_who_does_not_know_whether_the_instance_leaves() {
    is_clean("all", 6_420_432, 1);
}

#[test]
fn a_sweep_does_not_visit_an_instance_that_waits_no_more() {
    is_clean("all", 7_678_815, 1);
}

#[test]
fn a_retained_instance_was_cut_at_its_deadline() {
    is_clean("all", 7_253_848, 1);
}

#[test]
fn a_wait_for_a_dead_agent_ends_although_it_never_reports_the_end_of_a_stop() {
    is_clean("claims-hours,machine-dies", 16_458, 1);
}

#[test]
fn a_consul_that_denies_access_for_good_is_asked_less_often_the_longer_it_lasts() {
    for seed in [3_061_136, 4_223_737] {
        is_clean("all", seed, 1);
    }
    for seed in [121, 11_824] {
        is_clean("stuck-stop,claims-hours,denied-for-good", seed, 1);
    }
}

#[test]
fn what_a_deadline_cut_before_a_denied_completion_was_said() {
    is_clean("stuck-stop,claims-hours,denied-for-good", 11_540, 1);
}

#[test]
fn nobody_foresees_a_short_delay_who_may_not_read_nomad() {
    is_clean("all", 7_071_502, 1);
}

#[test]
fn what_stopped_between_the_beginning_of_a_pass_and_its_first_look_is_named() {
    is_clean("all", 9_352_353, 1);
}

#[test]
fn an_outage_of_consul_is_noted_while_auto_scaling_cannot_be_read() {
    is_clean("all", 9_136_180, 1);
}

#[test]
fn a_worker_whose_server_lags_does_not_see_what_another_drain_stops() {
    is_clean("all", 8_667_698, 1);
}

#[test]
fn a_stop_that_goes_on_does_not_move_the_end_away() {
    is_clean("all", 8_527_402, 1);
}

#[test]
fn what_was_learned_by_a_wrong_clock_is_forgotten_whichever_system_answers_first() {
    is_clean("all", 9_143_467, 1);
}

#[test]
fn a_scan_looks_for_the_addresses_of_a_node_whose_row_was_purged() {
    is_clean("all", 9_190_642, 1);
}

#[test]
fn a_copy_that_another_departure_stopped_is_not_missed_because_of_this_one() {
    is_clean("all", 9_647_375, 1);
}

#[test]
fn that_a_disk_was_copied_is_not_claimed_of_a_machine_that_may_have_gone_before() {
    for seed in [408_171, 752_969, 1_004_926] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn that_a_disk_is_still_being_copied_may_be_said_for_as_long_as_nomad_does_not_know_better() {
    for seed in [305_140, 337_299, 917_551, 1_380_095] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn what_many_earlier_allocations_left_costs_one_call_a_job() {
    for seed in [1_130_870, 1_181_649] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn a_hold_is_not_counted_as_time_of_the_departure() {
    is_clean("all", 486_053, 1);
}

#[test]
fn what_failed_before_the_first_write_is_no_loss_of_the_departure() {
    for seed in [772_684, 854_851] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn the_only_other_hook_says_how_often_a_departure_is_confirmed() {
    is_clean("all", 2_166_285, 1);
}

#[test]
fn an_allocation_that_landed_hides_a_purged_one_where_nothing_can_be_noted() {
    is_clean("all", 2_587_364, 1);
}

#[test]
fn no_look_shows_what_lands_between_a_slow_answer_and_a_slow_write() {
    is_clean("all", 3_030_842, 1);
}

#[test]
fn what_may_be_another_tools_is_not_completed_although_the_instance_cannot_be_read() {
    is_clean("all", 3_382_204, 1);
}

#[test]
fn a_worker_that_consul_holds_up_does_not_see_anothers_drain() {
    is_clean("all", 3_344_178, 1);
}

#[test]
fn what_is_hidden_of_an_allocation_that_ended_before_the_departure_needs_no_proof() {
    is_clean("all", 3_496_728, 1);
}

#[test]
fn an_end_that_a_hold_and_denied_activities_hide_is_known_to_no_later_worker() {
    is_clean("all", 3_534_635, 1);
}

#[test]
fn a_copy_that_landed_after_a_slow_answer_is_in_no_comparison() {
    is_clean("all", 3_851_316, 1);
}

#[test]
fn an_address_that_is_registered_again_is_waited_for_anew() {
    is_clean("all", 3_825_579, 1);
}

#[test]
fn a_note_that_no_target_is_registered_is_corrected_before_it_misleads() {
    is_clean("all", 4_043_499, 1);
}

#[test]
fn the_end_of_a_hold_is_seen_although_the_instance_may_not_be_read() {
    for seed in [51_112, 62_373, 73_417] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn a_hook_that_was_deleted_is_nobodys_although_the_instance_may_not_be_read() {
    for seed in [4_985_639, 4_998_380] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn before_a_heartbeat_is_answered_nothing_shows_that_the_events_time_is_an_earlier_actions() {
    is_clean("all", 5_708_347, 1);
}

#[test]
fn a_worker_that_was_frozen_looks_again_before_it_drains() {
    for seed in [6_689_929, 8_168_474] {
        is_clean("all", seed, 1);
    }
}

#[test]
fn sweeps_begin_anew_until_the_hooks_own_end_if_nobody_may_complete_its_action() {
    is_clean("all", 6_958_874, 1);
}

#[test]
fn a_server_that_lags_is_read_again_when_it_catches_up() {
    // The simulated watch once took the answer of such a server for a newer one, and the worker did not see for a minute what stopped.
    is_clean("all", 9_879_842, 1);
}

#[test]
fn a_note_that_nomad_let_nobody_correct_misleads_the_next_worker() {
    is_clean("all", 9_100_665, 1);
}
