"""A model behind the OpenAI chat protocol as a subject, with answers that are kept as they come."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbias.errors import BadModel, MissingExtra
from vlbias.files import write_json
from vlbias.studies.comprehension.items import Question
from vlbias.studies.comprehension.subjects import Answer, read_answer

if TYPE_CHECKING:
    from vlbias.studies.comprehension.study import Endpoint

__all__ = ["ChatSubject"]


@dataclass
class ChatSubject:
    """A model on a server; every answer is written to disk before the next question is asked.

    The library's client repeats calls that time out or that the server cannot take now. What fails in the
    end is a status of that answer and is not kept: remove the cell, and it alone is asked again.

    Args:
        model: Its name on the server.
        endpoint: Where the server is, and how it is asked.
        parser: See `vlbias.studies.comprehension.parsing`.
        folder: Where answers are kept.

    Raises:
        MissingExtra: if the client is not installed.
    """

    model: str
    endpoint: Endpoint
    parser: str
    folder: Path
    _client: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingExtra("chat", "openai") from error
        self._client = OpenAI(
            base_url=self.endpoint.base_url,
            # local servers take any key
            api_key=os.environ.get(self.endpoint.key_variable, "none"),
            timeout=self.endpoint.timeout,
            max_retries=self.endpoint.retries,
        )

    @property
    def name(self) -> str:
        """Of the model on the server."""
        return self.model.rpartition("/")[2]

    @property
    def revision(self) -> str:
        """Server, model and settings: what a server runs under a name it does not tell."""
        settings = self.endpoint.model_dump(
            mode="json", include={"temperature", "max_tokens", "system"}
        )
        return f"{self.endpoint.base_url} {self.model} {json.dumps(settings, sort_keys=True)}"

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Subject.answers`."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        messages = [{"role": "user", "content": question.text}]
        if self.endpoint.system:
            messages.insert(0, {"role": "system", "content": self.endpoint.system})
        asked = json.dumps([self.revision, messages], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"
        if path.is_file():
            written = json.loads(path.read_text(encoding="utf-8"))["written"]
            return read_answer(written, self.parser, question.choices)
        said = self._asked(messages)
        if said.status == "ok":
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {"messages": messages, "written": said.raw})
            return read_answer(said.raw, self.parser, question.choices)
        return said

    def _asked(self, messages: list[dict[str, str]]) -> Answer:
        import openai

        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                temperature=self.endpoint.temperature,
                max_tokens=self.endpoint.max_tokens,
            )
        except openai.APITimeoutError as error:
            return Answer("", "timeout", str(error))
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as error:
            raise BadModel(
                f"{self.endpoint.base_url} refuses {self.model!r}: {error}. Set "
                f"{self.endpoint.key_variable}, or give a model that the server has; answers so far are kept"
            ) from error
        except openai.APIConnectionError as error:
            raise BadModel(
                f"{self.endpoint.base_url} cannot be reached ({error}); start the server and run the study "
                "again: answers so far are kept"
            ) from error
        except (openai.APIError, json.JSONDecodeError) as error:
            return Answer("", "error", str(error))
        choices = getattr(reply, "choices", None)
        content = choices[0].message.content if choices else None
        if not isinstance(content, str):
            return Answer("", "error", f"no text in the reply: {str(reply)[:200]}")
        return Answer("", "ok", content)
