"""Options of a task, shared by commands, YAML files and Python."""

from dataclasses import dataclass

from reason_decode.tasks.base import QUESTION

__all__ = ["TaskOptions"]


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    r"""The task and its prompts.

    Args:
        task: gsm8k, math, aime, multiple-choice, game24, bbh-arithmetic; questions, any table of
            questions and answers; or a task of your own, ``module:name`` or ``file.py:name``.
        question_column: column of the questions (default: the first of question, problem, prompt,
            input and query that there is).
        answer_column: column of the answers (default: the first of answer, target, final_answer,
            expected_answer, ground_truth and solution).
        subset: subset of a Hub dataset, such as ``main`` of openai/gsm8k.
        split: split of a Hub dataset (default: test).
        few_shot: number of solved problems that a prompt shows first.
        few_shot_input: file of them in the task's form, or Hub dataset, whose train split is read
            (default: the task's own).
        prompt_template: a user's turn in a chat, with ``{question}`` in the place of the question
            (default: the question, then an instruction to reason step by step and to put the
            answer within ``\boxed{}``).

    Raises:
        ValueError: a value is out of range, or options do not go together.
    """

    task: str = "questions"
    question_column: str | None = None
    answer_column: str | None = None
    subset: str | None = None
    split: str | None = None
    few_shot: int = 0
    few_shot_input: str | None = None
    prompt_template: str | None = None

    def __post_init__(self) -> None:
        if self.few_shot < 0:
            raise ValueError(f"got few_shot={self.few_shot}; need 0 or more")
        if self.few_shot_input is not None and not self.few_shot:
            raise ValueError(
                f"got few_shot_input={self.few_shot_input} without few_shot; give the number of "
                "problems to show (--few-shot)"
            )
        if self.prompt_template is not None and QUESTION not in self.prompt_template:
            raise ValueError(
                f"got prompt_template={self.prompt_template!r:.80}; it needs {QUESTION} in the "
                "place of the question"
            )
