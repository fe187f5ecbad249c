"""The embedded engine: shared, found again, renewed after a kill, ended when nobody holds it."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from pyspark.sql import functions

from mosaic_resources.engine.connect import ConnectEngine
from mosaic_resources.engine.contract import make_engine
from mosaic_resources.engine.sail import SailEngine
from mosaic_resources.engine.session import SessionHolder, engine_errors
from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.settings.settings import load_settings


def test_second_engine_finds_the_same_server(engine):
    address = engine.engine.address_file
    again = SailEngine(address.parent)
    assert again.spark_config()["spark.remote"].endswith(str(json.loads(address.read_text())["port"]))
    again.stop()


def test_another_process_shares_the_server(engine):
    code = (
        "import sys, pathlib; from mosaic_resources.engine.sail import SailEngine; "
        "print(SailEngine(pathlib.Path(sys.argv[1])).spark_config()['spark.remote'])"
    )
    folder = str(engine.engine.address_file.parent)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == engine.engine.spark_config()["spark.remote"]


def test_killed_server_is_a_clear_error_and_the_next_session_works(tmp_path):
    holder = SessionHolder(SailEngine(tmp_path, memory_bytes=1 << 30, idle_seconds=1))
    session = holder.session()
    server = json.loads(holder.engine.address_file.read_text())["pid"]
    os.kill(server, signal.SIGKILL)
    with pytest.raises(DependencyError, match="The engine 'sail'"), engine_errors("sail"):
        session.sql("select 1").toArrow()
    assert holder.session().sql("select 3 as a").toArrow()["a"].to_pylist() == [3]
    second = json.loads(holder.engine.address_file.read_text())["pid"]
    holder.close()
    for _ in range(100):
        if not psutil.pid_exists(second):
            break
        time.sleep(0.1)
    assert not psutil.pid_exists(second)


def test_what_finds_its_session_by_itself_finds_the_engine_that_was_asked_last(engine, tmp_path):
    engine.session()
    other = SailEngine(tmp_path, memory_bytes=1 << 30, idle_seconds=1)
    SessionHolder(other).session()
    os.kill(json.loads(other.address_file.read_text())["pid"], signal.SIGKILL)
    session = engine.session()
    doubled = functions.udf(lambda value: 2.0 * value, "double")  # Its type is read by the active session.
    assert session.range(2).select(doubled("id").alias("d")).toArrow()["d"].to_pylist() == [0.0, 2.0]


@pytest.mark.parametrize("query", ["select zz from nope", "selec 1", "select 1 +"])
def test_a_wrong_query_is_the_users(engine, query):
    with pytest.raises(UserError, match="my/asset: The query"), engine_errors("sail", "my/asset"):
        engine.session().sql(query).toArrow()


def test_connect_refuses_what_is_no_address_and_what_is_silent():
    with pytest.raises(UserError, match="is no Spark Connect address"):
        ConnectEngine("http://x")
    with pytest.raises(DependencyError, match="No Spark Connect server answers at 127.0.0.1:1"):
        ConnectEngine("sc://127.0.0.1:1").spark_config()


def test_an_sc_address_in_the_environment_is_honoured(engine, tmp_path):
    remote = engine.engine.spark_config()["spark.remote"]
    settings = load_settings(tmp_path, {"SPARK_REMOTE": remote})
    chosen = make_engine(settings)
    assert (settings.engine, chosen.name, chosen.spark_config()) == ("connect", "connect", {"spark.remote": remote})


def test_a_missing_column_is_named_as_people_write_it(engine):
    with pytest.raises(UserError, match=r"my/asset: The query .*'distance_kmm'"), engine_errors("sail", "my/asset"):
        engine.session().sql("select distance_kmm from (select 1 as distance_km)").toArrow()
