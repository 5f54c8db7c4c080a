"""The text under a field is its description, in the JSON Schema too."""

from pydantic import Field

from archon_workflows.model.descriptions import DescribedModel, descriptions_of
from archon_workflows.model.steps import ActionStep, Approval, StepFields
from archon_workflows.settings import Settings


def test_every_field_has_the_text_under_it_and_those_of_its_bases() -> None:
    texts = descriptions_of(ActionStep)
    assert texts.keys() == ActionStep.model_fields.keys()
    assert texts["tool_name"] == "The tool: its exact name, `server/tool` or `tool_server`."
    assert texts["title"] == descriptions_of(StepFields)["title"] == "A title for people."


def test_a_text_of_several_lines_is_one_description() -> None:
    assert descriptions_of(StepFields)["on_interrupt"].endswith("for destructive tools, else\n`retry`.")


def test_settings_have_them_without_being_such_models() -> None:
    assert descriptions_of(Settings).keys() >= Settings.model_fields.keys()


def test_a_description_that_a_field_says_itself_comes_first() -> None:
    class Said(Approval):
        message: str | None = Field(None, description="Its own.")

    properties = Said.model_json_schema()["properties"]
    assert properties["message"]["description"] == "Its own."
    assert properties["timeout_seconds"]["description"] == "How long to wait; without it, for ever."


def test_what_others_define_has_none() -> None:
    class Elsewhere(DescribedModel):
        plain: int = 0
        """Nobody publishes this."""

    assert "description" not in Elsewhere.model_json_schema()["properties"]["plain"]
