"""The project keeps its own promises: one list of dependencies, one clock, one schema."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pysys.domain.errors import ConfigError
from pysys.store import schema
from pysys.store.database import (
    NewerDatabase,
    NoDatabase,
    connect,
    database_revision,
    migrate,
    require_current,
    sqlite_url,
)
from pysys.store.revision import SCHEMA_REVISION

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = sorted((PROJECT / "pysys").rglob("*.py"))


def requirements() -> set[str]:
    return set(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"])


def test_conda_users_get_the_same_requirements():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    by_pip = next(one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    assert set(by_pip) - {"--editable ."} == requirements()


def test_the_lock_file_pins_every_requirement_by_hash_and_names_no_host():
    lock = (PROJECT / "requirements.lock").read_text()
    assert not re.search(r"https?://|file://|--(extra-)?index-url|--find-links", lock)
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==", lock, re.M)}
    for requirement in requirements():
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert name and name.group().lower().replace("_", "-") in pinned, requirement
    assert lock.count("==") <= lock.count("--hash=sha256:")


WALL_CLOCK = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time")}
SLEEP = ("time", "sleep")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
@pytest.mark.incident("E4")
def test_nothing_reads_the_wall_clock_but_the_clock(path):
    if path == PROJECT / "pysys" / "clock.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            assert (name, node.func.attr) not in WALL_CLOCK, f"line {node.lineno}: take the time from a Clock"
            assert (name, node.func.attr) != SLEEP or "broker" not in path.parts, f"line {node.lineno}: sleeps"


def test_the_migrations_make_exactly_the_schema(store):
    assert database_revision(store.engine) == SCHEMA_REVISION
    with store.read() as unit:
        context = MigrationContext.configure(unit.connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_a_database_that_is_there_is_left_alone(store):
    assert migrate(store.engine) is False


def test_a_database_from_a_newer_version_is_refused_and_unchanged(store):
    with store.write() as unit:
        unit.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        unit.commit()
    for attempt in (require_current, migrate):
        with pytest.raises(NewerDatabase, match="9999, newer than"):
            attempt(store.engine)
    assert database_revision(store.engine) == "9999"


def test_a_missing_database_is_said_to_be_missing_and_is_not_made(tmp_path):
    with pytest.raises(NoDatabase, match="Run `pysys init`"):
        require_current(connect(sqlite_url(tmp_path / "none.db")))
    assert list(tmp_path.iterdir()) == []


def test_a_database_nobody_answers_for_is_an_error_without_its_password():
    with pytest.raises(ConfigError) as refused:
        require_current(connect("postgresql://me:secret@127.0.0.1:1/none"))
    assert "cannot be opened" in str(refused.value)
    assert "secret" not in str(refused.value)
