"""The pitfalls that users of other gateways fell into, by their numbers in the wire reference: each has its tests."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

CHAT: Final = "unit/dialects/openai_chat"
RESPONSES: Final = "unit/dialects/openai_responses"
ANTHROPIC: Final = "unit/dialects/test_anthropic_messages"
GEMINI: Final = "unit/dialects/gemini"
BEDROCK: Final = "unit/dialects/bedrock_converse"

PITFALLS: Final[dict[int, tuple[str, ...]]] = {
    # Tools beside reasoning are refused over Chat Completions.
    1: ("flow/test_wires.py::test_tools_while_thinking", "flow/test_wires.py::test_a_round_of_tools_over_responses"),
    # Sampling that a model refuses.
    2: (f"{ANTHROPIC}.py::test_relay_leaves_out_sampling_that_the_model_refuses",),
    # Where clients put the key.
    3: ("faults/test_bad_requests.py::test_each_place_of_the_key",),
    # Thinking that is a signature alone.
    4: (
        "flow/test_seals.py::test_pitfall_4_a_signature_alone",
        f"{ANTHROPIC}.py::test_blocks_are_read_and_written_back",
    ),
    # Streams without their signatures.
    5: (
        "flow/test_seals.py::test_pitfall_5_a_stream_made_here_bears_signatures",
        f"{ANTHROPIC}_streams.py::test_a_stream_is_the_answer_not_streamed",
    ),
    # Thinking of another provider, or none where it is due.
    6: (
        "flow/test_seals.py::test_pitfall_6_thinking_that_was_not_begun",
        f"{ANTHROPIC}_encoding.py::test_thinking_is_off_in_a_loop_that_began_without",
        f"{BEDROCK}/test_conversation.py::test_reasoning_of_others_is_not_sent",
        f"{GEMINI}/test_encoding.py::test_foreign_signatures_are_not_sent",
    ),
    # Signatures of calls, lost or at another place.
    7: (
        "flow/test_seals.py::test_pitfall_7_the_first_of_parallel_calls_is_signed",
        f"{GEMINI}/test_encoding.py::test_pitfall_7_a_signature_lost_is_stood_in_for",
        f"{GEMINI}/test_encoding.py::test_pitfall_7_each_step_of_the_current_turn",
        "flow/test_moving_on.py::test_a_conversation_moves_on_and_comes_back",
    ),
    # Calls that come whole, without arguments in a stream of pieces.
    8: (f"{GEMINI}/test_stream.py::test_pitfall_8_calls_keep_their_arguments",),
    # Name and arguments in one piece.
    9: (f"{CHAT}/test_stream.py::test_9_name_and_arguments_in_one_chunk",),
    # Calls without arguments.
    10: (
        "unit/dialects/test_assembly.py::test_10_a_call_without_arguments_has_an_empty_object",
        f"{CHAT}/test_stream.py::test_10_a_call_without_arguments",
    ),
    # The index of a block is none of a call.
    11: (f"{CHAT}/test_stream.py::test_11_tool_index_counts_tools_only",),
    # Results of parallel calls in one turn, before words.
    12: ("flow/test_sdk_matrix.py::test_parallel_tools",),
    # Each with the id of its own call.
    13: (f"{CHAT}/test_request.py::test_13_each_result_keeps_its_own_id",),
    # Calls that are items of their own.
    14: (
        f"{RESPONSES}/test_request.py::test_14_calls_are_one_turn",
        f"{RESPONSES}/test_request.py::test_results_reach_anthropic_in_one_message",
    ),
    # Alphabets of ids.
    15: (
        f"{BEDROCK}/test_conversation.py::test_pitfall_15_ids_are_of_the_services_alphabet_and_given_once",
        "flow/test_moving_on.py::test_a_conversation_moves_on_and_comes_back",
    ),
    # Blocks of empty words.
    16: (f"{BEDROCK}/test_conversation.py::test_pitfall_16_empty_words_are_left_out",),
    # Calls and results that have lost each other.
    17: (f"{ANTHROPIC}_encoding.py::test_orphans_are_refused",),
    # A history of calls without tools, and no word for "call none".
    18: (
        f"{BEDROCK}/test_request.py::test_pitfall_18_a_history_with_calls_needs_tools",
        f"{BEDROCK}/test_request.py::test_pitfall_18_no_tool_is_to_be_called",
    ),
    # Cached tokens counted twice.
    19: (
        f"{BEDROCK}/test_answers.py::test_pitfall_19_cached_tokens_are_counted_once",
        "flow/test_sdk_answers.py::test_cached_input",
        "unit/providers/test_bedrock.py::test_costs",
    ),
    # Tokens of reasoning beside the output, or within it.
    20: (
        f"{CHAT}/test_response.py::test_20_reasoning_counted_apart",
        f"{GEMINI}/test_answers.py::test_pitfall_20_thoughts_are_counted_once",
    ),
    # Pieces without choices.
    21: (f"{CHAT}/test_stream.py::test_21_azures_first_chunk",),
    # A stream cut short is no end.
    22: (
        f"{CHAT}/test_stream.py::test_22_a_cut_stream_is_no_stop",
        "flow/test_sdk_errors.py::test_a_stream_cut_short",
        "flow/test_sdk_errors.py::test_a_call_cut_short",
    ),
    # An error behind the status 200.
    23: (
        "faults/test_cut_streams.py::test_an_error_told_in_band_is_an_error",
        "faults/test_cut_streams.py::test_a_cut_before_any_content_is_an_http_error",
    ),
    # An error, and an end mark after it.
    24: (f"{CHAT}/test_stream.py::test_24_error_then_done",),
    # A limit told amid a stream.
    25: ("flow/test_pitfalls.py::test_25_a_limit_told_amid_a_stream",),
    # Images in what a tool returned.
    26: (
        f"{CHAT}/test_request.py::test_26_images_in_tool_results",
        "flow/test_sdk_matrix.py::test_image_in_a_tool_result",
    ),
    # Words of JSON Schema that a service does not know.
    27: (f"{GEMINI}/test_encoding.py::test_pitfall_27_any_schema_passes",),
    # A prompt cut without a word.
    28: ("unit/dialects/test_ollama.py::test_foreign_request_is_never_cut_silently",),
    # The reason to stop passed over.
    29: (
        "flow/test_pitfalls.py::test_29_thinking_that_ate_the_limit",
        "flow/test_sdk_answers.py::test_cut_at_the_limit",
    ),
    # Reasoning that must come back.
    30: (
        "flow/test_seals.py::test_pitfall_30_deepseek_is_shown_its_reasoning",
        f"{CHAT}/test_request.py::test_30_deepseek_wants_its_reasoning_back",
    ),
    # Content in lists, names, a seed of another name.
    31: (f"{CHAT}/test_request.py::test_31_mistral_requests", f"{CHAT}/test_stream.py::test_31_mistral_streams"),
    # A limit that is reserved as a whole.
    32: ("flow/test_pitfalls.py::test_32_no_limit_is_made_up",),
    # Errors known by a word in them.
    33: ("unit/dialects/test_failures.py::test_33_words_do_not_mislead",),
    # Addresses turned into bytes for those who fetch.
    34: ("flow/test_media.py::test_an_address_that_the_provider_fetches",),
    # Usage behind the reason to stop, blocks without a start.
    35: (
        f"{BEDROCK}/test_answers.py::test_pitfall_35_words_have_no_start_and_usage_comes_last",
        f"{BEDROCK}/test_answers.py::test_pitfall_35_a_stream_without_its_usage_is_not_whole",
    ),
    # A path that is encoded twice.
    36: ("unit/providers/test_bedrock.py::test_pitfall_36_the_path_is_encoded_twice_for_the_signature",),
}
"""By number, where it is tested."""


def test_every_pitfall_has_a_test() -> None:
    """No number is missing, and none is there without a test."""
    assert list(range(1, 37)) == list(PITFALLS)
    assert all(PITFALLS.values())


@pytest.mark.parametrize("path", sorted({test.partition("::")[0] for tests in PITFALLS.values() for test in tests}))
def test_each_of_them_is_there(path: str) -> None:
    """A test that was renamed or taken away is missed here."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    named = {test.partition("::")[2] for tests in PITFALLS.values() for test in tests if test.startswith(f"{path}::")}
    assert set() == named - there
