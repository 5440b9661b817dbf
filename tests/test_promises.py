"""What other supervisors and console servers do for their users, feature by feature, and the test that holds us to it. A
row whose test is renamed or removed fails; so does one without a test.
"""

import os
import re

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(os.path.dirname(HERE), "src")

ROWS = {
    "any command with a terminal, detached; read also when nobody is attached": [
        "a_program_with_a_terminal_has_one",
        "a_flood_of_output_is_logged_within_bounds_and_stalls_nobody",
    ],
    "restarts after any end: exit, ^C, a signal; policies always, on-failure, never, oneshot": [
        "test_a_policy_says_what_follows_an_end",
        "the_table_of_ends_and_policies",
        "test_a_real_ioc_is_ended_by_keys_that_are_not_kept_from_it",
    ],
    "a holdoff from start to start, in milliseconds, at once if it ran longer, never polled": [
        "test_the_holdoff_counts_from_the_start",
        "the_holdoff_counts_from_start_to_start",
        "test_a_child_that_is_killed_is_back_at_once",
        "test_a_chatty_client_does_not_put_off_a_restart",
    ],
    "a list of delays, its last for ever, begun anew after a steady run; a start limit where one is wanted": [
        "a_list_of_delays_is_used_in_order_and_its_last_for_ever",
        "test_restarts_follow_the_list_of_delays",
        "test_who_is_started_too_often_stays_down_until_somebody_starts_it",
    ],
    "^X ^T ^R ^Q: bytes, states, their order within one packet; two states, or three": [
        "test_a_key_is_answered_so",
        "test_keys_are_found_anywhere_and_what_stood_before_them_goes_first",
        "the_key_steps_through_two_states_or_three",
    ],
    "^X and then ^Q ends it, whatever the child's age": [
        "test_x_then_q_ends_it_although_the_child_runs_again",
        "test_x_and_q_in_one_packet_end_it",
    ],
    "bytes that never reach the child": [
        "test_keys_are_found_anywhere_and_what_stood_before_them_goes_first",
        "test_the_shell_of_a_real_ioc_is_typed_to_restarted_and_kept_from_what_would_end_it",
    ],
    "a logout key, also if it is the quit key": ["test_a_logout_key_that_is_the_quit_key_only_logs_out_while_the_child_runs"],
    "a TCP port on loopback, IPv4 and IPv6, telnet; one for others needs sources": [
        "test_telnet_shows_what_is_typed_once_and_leaves",
        "test_every_kind_of_endpoint_is_served_and_listed",
        "test_what_cannot_be_a_listener_is_refused_with_its_path_or_shown_with_its_reason",
    ],
    "unix: sockets with owner, group, mode, @abstract; 0660 under YANG; peers known; raw where wanted": [
        "test_every_kind_of_endpoint_is_served_and_listed",
        "a_path_may_have_an_owner_a_group_and_a_mode_each_of_them_or_none",
        "test_socat_on_the_socket_and_who_may_connect",
        "test_who_is_known_to_the_host_is_judged_by_the_access_rules_also_without_the_agent",
        "test_a_listener_may_speak_raw_or_as_a_log_port",
    ],
    "the banner of 2.7.0": ["test_the_banner_is_that_of_2_7_0", "test_every_byte_of_a_conversation_is_what_debians_procserv_says"],
    "several users, shared or one writer, by user": [
        "test_a_shell_is_typed_to_by_several_and_everyone_sees_it",
        "test_with_one_writer_the_next_one_watches_or_takes_over",
        "there_is_never_more_than_one_writer_of_one",
    ],
    "a log port that only shows, with stamps": ["test_who_watches_at_the_log_port_reads_and_nothing_more"],
    "a log file: appended, reopened on HUP, put aside by size, age and number": [
        "test_the_log_is_appended_to_stamped_and_reopened_on_hup",
        "test_files_of_a_log_are_put_aside_packed_and_kept_in_number",
        "a_file_is_put_aside_when_it_is_old",
    ],
    "info file and pid file, removed at the end": [
        "test_every_kind_of_endpoint_is_served_and_listed",
        "test_a_daemon_says_its_pid_and_the_pid_file_is_there_when_the_caller_ends",
    ],
    "chdir at each start, name, exec": ["test_the_command_is_called_as_options_say", "test_an_option_does_what_it_says"],
    "in the foreground under a manager": ["test_a_terminal_in_the_foreground_is_a_client", "test_the_unit_for_an_ioc_differs_from_the_guides_in_its_program_alone"],
    "account, folders made with their owner, required paths, order": [
        "test_a_program_gets_what_its_definition_says",
        "test_folders_are_made_with_their_owner_before_a_start",
        "test_a_missing_path_may_refuse_a_start",
        "test_a_start_waits_for_a_path_and_for_those_before_it",
    ],
    "templates with an instance, escaped and verbatim, in any text": [
        "test_instances_share_a_template_and_a_group",
        "an_instance_is_what_stands_behind_the_at_sign",
        "an_instance_fills_in_words_paths_and_environment",
    ],
    "started at boot apart from started now; status with the tree and the last lines": [
        "test_what_does_not_start_at_boot_starts_when_somebody_starts_it",
        "only_unless_stopped_remembers_a_stop_over_a_reboot",
        "test_what_is_told_of_a_container_is_true",
    ],
    "a console's own client: lists, ^Ec, -f, -s, -a, replay": [
        "test_down_open_break_and_replay_by_escape_sequences",
        "the_columns_are_those_that_scripts_know",
        "the_details_have_fifteen_fields_whatever_stands_in_them",
        "test_each_escape_sequence_is_answered",
    ],
    "stamps by line; marks of who came, went and took over, and of breaks": [
        "test_a_log_has_its_own_place_and_stamps",
        "test_one_writer_motd_replay_breaks_and_keys_are_configured",
        "each_line_has_one_stamp_however_it_comes",
        "test_the_time_and_what_happens_are_marked",
    ],
    "access by user, group and source": [
        "test_who_is_known_to_the_host_is_judged_by_the_access_rules_also_without_the_agent",
        "test_only_the_sources_that_are_named_may_connect",
        "the_first_entry_that_fits_decides_for_each_verb",
    ],
    "behind a conserver; consoles of others, by socket and by host and port": [
        "test_a_real_conserver_in_front_of_our_sockets",
        "test_conserver_serves_our_console",
        "test_a_console_of_somebody_else_is_served_to_many_and_called_again",
        "test_a_procserv_is_attached_by_its_socket_and_one_that_is_away_is_said_to_be",
    ],
    "a private folder for each instance, which is kept": ["test_a_program_gets_what_its_definition_says"],
    "logs by name, time, account, number of lines, followed; syslog and journal": [
        "test_lines_are_found_by_name_time_and_account",
        "test_what_comes_is_followed_over_files",
        "a_question_by_time_reads_what_it_answers_and_no_more",
        "test_lines_go_to_a_collector_too",
        "test_lines_go_to_a_journal_too_and_a_gap_is_told",
    ],
    "limits, no new privileges, the whole tree ends": [
        "test_a_program_gets_what_its_definition_says",
        "a_kill_finds_a_grandchild_that_left_session_and_parent",
        "test_what_is_told_of_a_container_is_true",
    ],
    "readiness by socket and by descriptor": ["test_who_has_not_said_that_he_is_ready_is_starting", "test_who_is_not_ready_in_time_is_killed"],
    "a slow reader is told what it lost, and nobody waits for it": [
        "test_a_client_that_never_reads_stops_nobody_and_is_told_what_it_lost",
        "a_viewer_that_never_reads_is_blocked_and_costs_an_offset",
    ],
    "a commit applies the difference: what runs and who is attached is not touched": [
        "test_a_commit_starts_changes_and_ends_what_it_names_and_leaves_the_rest_alone",
        "test_listeners_come_change_and_go_by_commit_and_nobody_else_notices",
    ],
    "started at boot in order, paths awaited": [
        "a_container_waits_for_those_before_it_until_they_are_ready_or_have_given_up",
        "test_one_that_is_before_others_keeps_them_waiting",
        "test_a_start_waits_for_a_path_and_for_those_before_it",
    ],
    "description and documentation in status and lists": ["test_what_is_told_of_a_container_is_true"],
    "nobody comes in by an empty password; a list of built-in defaults": [
        "conservers_files_of_the_guide_are_accounted_for",
        "test_a_password_is_asked_where_nobody_is_believed",
        "test_the_built_in_defaults_are_listed",
    ],
    "folders, times, pid and who is connected as state": ["test_what_a_banner_tells_is_state_too"],
    "words, not a shell; PATH is looked through": [
        "arguments_split_as_in_a_shell",
        "a_program_that_cannot_be_run_is_named_before_it_is_tried",
    ],
    "whose files may be on a server that is away: nobody else waits": ["test_a_program_that_cannot_be_read_keeps_nobody_else_waiting"],
    "terminals run out: the kernel's setting is named": ["test_a_start_without_a_terminal_left_names_the_kernels_setting"],
    "users' programs that read the texts": [
        "test_the_epics_support_for_procserv_understands_all_it_reads",
        "test_the_ioc_manager_removes_an_ioc_as_it_always_did",
    ],
    "files that people have, taken over": [
        "the_template_of_the_guide_becomes_a_template",
        "the_first_unit_of_the_guide_becomes_a_container",
        "conservers_files_of_the_guide_are_accounted_for",
        "instances_of_manage_procs_become_containers",
        "programs_of_supervisord_become_containers",
        "each_console_is_where_conserver_finds_it",
        "test_what_moves_in_from_a_conserver_serves_its_clients",
    ],
}


def functions(folder, ends):
    for place, _, files in os.walk(folder):
        for name in files:
            if name.endswith(ends):
                with open(os.path.join(place, name), encoding="utf-8") as handle:
                    text = handle.read()
                yield from re.findall(r"^def (test_\w+)", text, re.M)
                yield from re.findall(r"#\[(?:tokio::)?test\]\s+(?:#\[[^\]]*\]\s+)*(?:async )?fn (\w+)", text)
                yield from re.findall(r"^ *fn (\w+)\($", text, re.M) if "proptest!" in text else ()


@pytest.fixture(scope="module")
def known():
    return {*functions(HERE, (".py", ".rs")), *functions(SOURCES, ".rs")}


@pytest.mark.parametrize("feature", ROWS, ids=lambda feature: re.sub(r"\W+", "_", feature)[:60])
def test_a_feature_has_its_tests(feature, known):
    assert ROWS[feature] and not [name for name in ROWS[feature] if name not in known]
