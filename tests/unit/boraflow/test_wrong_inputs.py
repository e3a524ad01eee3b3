"""A sweep of wrong inputs: each is told once, with its file and line, the name of what is wrong, and the fix.

When a message becomes better its words change here; one that loses the line, or becomes that of a library, fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, Asset, AssetAlias, BaseHook, Variable, task
from boraflow.operators.bash import BashOperator
from boraflow.operators.python import (
    BranchPythonOperator,
    PythonOperator,
    ShortCircuitOperator,
)
from boraflow.operators.sql import SQLExecuteQueryOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.runtime.loader import load_file
from boraflow.sensors.filesystem import FileSensor

HEAD = """\
from datetime import datetime, timedelta
from boraflow import *
from boraflow import DAG, Asset, AssetWatcher, BaseHook, Label, Param, TaskGroup, Variable, chain, cross_downstream, dag, task
from boraflow.model.partitions import *
from boraflow.model.timetables import *
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator, ShortCircuitOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.sensors.external_task import ExternalTaskSensor
from boraflow.sensors.filesystem import FileSensor
"""

WRONG_FILES = [
    (
        "unknown DAG argument",
        "d = DAG('d', schedul='@daily')",
        1,
        "UnknownArgument: DAG 'd' has no argument 'schedul'; did you mean 'schedule'?",
    ),
    (
        "DAG without id",
        "d = DAG()",
        1,
        "UnknownArgument: DAG() is missing its dag_id: DAG('name_of_the_dag', ...)",
    ),
    (
        "dag_id with a blank",
        "d = DAG('a b')",
        1,
        "InvalidArgument: dag_id 'a b' may hold only ASCII letters, digits, dashes and underscores, and dots",
    ),
    ("dag_id of a number", "d = DAG(5)", 1, "InvalidArgument: dag_id must be a str, not int 5"),
    (
        "cron of four fields",
        "d = DAG('d', schedule='0 0 * *')",
        1,
        "InvalidArgument: schedule of DAG 'd': bad cron expression '0 0 * *': expected five fields (minute hour day month weekday) or a preset such as '@daily'",
    ),
    (
        "cron out of range",
        "d = DAG('d', schedule='61 0 * * *')",
        1,
        "InvalidArgument: schedule of DAG 'd': bad cron expression '61 0 * * *': a field is out of range; expected five fields (minute hour day month weekday)",
    ),
    (
        "preset misspelt",
        "d = DAG('d', schedule='@dayly')",
        1,
        "InvalidArgument: schedule of DAG 'd': bad cron expression '@dayly': expected five fields (minute hour day month weekday) or a preset such as '@daily'",
    ),
    (
        "schedule of a number",
        "d = DAG('d', schedule=5)",
        1,
        "InvalidArgument: schedule of DAG 'd': schedule 5 is not understood: expected None, a cron expression, a preset such as '@daily', a timedelta, a",
    ),
    (
        "negative timedelta",
        "d = DAG('d', schedule=timedelta(days=-1))",
        1,
        "InvalidArgument: schedule of DAG 'd': schedule datetime.timedelta(days=-1): the time between two runs must be positive",
    ),
    (
        "timetable class not instance",
        "from boraflow.model.timetables import CronTriggerTimetable\nDAG('d', schedule=CronTriggerTimetable)",
        2,
        "InvalidArgument: schedule of DAG 'd': schedule <class 'boraflow.model.timetables.trigger.CronTriggerTimetable'> is not understood: expected None, a",
    ),
    (
        "timetable unknown zone",
        "from boraflow.model.timetables import CronTriggerTimetable\nDAG('d', schedule=CronTriggerTimetable('0 0 * * *', timezone='Mars/Base'))",
        2,
        "ValueError: unknown time zone 'Mars/Base': an IANA name such as 'Europe/Berlin' is expected",
    ),
    (
        "timetable bad cron",
        "from boraflow.model.timetables import CronDataIntervalTimetable\nDAG('d', schedule=CronDataIntervalTimetable('every day', timezone='UTC'))",
        2,
        "ValueError: bad cron expression 'every day': expected five fields (minute hour day month weekday) or a preset such as '@daily'",
    ),
    (
        "start_date text",
        "d = DAG('d', start_date='yesterday')",
        1,
        "InvalidArgument: start_date of DAG 'd' is no ISO 8601 date: 'yesterday'",
    ),
    (
        "end before start",
        "d = DAG('d', start_date=datetime(2026,2,1), end_date=datetime(2026,1,1))",
        1,
        "AirflowDagInconsistent: DAG 'd': its end_date 2026-01-01 00:00:00+00:00 is before its start_date 2026-02-01 00:00:00+00:00",
    ),
    (
        "catchup text",
        "d = DAG('d', catchup='no')",
        1,
        "InvalidArgument: catchup of DAG 'd' must be True or False, not 'no'",
    ),
    (
        "max_active_runs negative",
        "d = DAG('d', max_active_runs=-1)",
        1,
        "InvalidArgument: max_active_runs of DAG 'd' must be a whole number of at least 1, not -1",
    ),
    (
        "dagrun_timeout number",
        "d = DAG('d', dagrun_timeout=60)",
        1,
        "InvalidArgument: dagrun_timeout of DAG 'd' must be a timedelta, not 60",
    ),
    (
        "tags text",
        "d = DAG('d', tags='one')",
        1,
        "InvalidArgument: tags of DAG 'd' must be a list of texts, not the text 'one'",
    ),
    (
        "default_args list",
        "d = DAG('d', default_args=['owner'])",
        1,
        "InvalidArgument: default_args of DAG 'd' must be a dict of arguments, not ['owner']",
    ),
    (
        "default_args unknown is fine, wrong value",
        "with DAG('d', default_args={'retries': 'x'}):\n    EmptyOperator(task_id='t')",
        2,
        "InvalidArgument: retries of task 't' must be a whole number >= 0, not 'x'",
    ),
    (
        "params not valid",
        "with DAG('d', params={'n': Param(5, type='string')}) as dag:\n    EmptyOperator(task_id='t')",
        1,
        "AirflowDagInconsistent: DAG 'd': the default of param 'n' is not valid: 5 is not of type 'string'",
    ),
    (
        "param default missing",
        "with DAG('d', schedule='@daily', params={'n': Param(type='integer')}) as dag:\n    EmptyOperator(task_id='t')",
        1,
        "AirflowDagInconsistent: DAG 'd' has a schedule, so each param needs a valid default; 'n' has not: No value passed and Param has no default value",
    ),
    (
        "param bad schema",
        "d = DAG('d', params={'n': Param(5, type='number_')})",
        1,
        "AirflowDagInconsistent: DAG 'd': the default of param 'n' is not valid: the schema itself is not valid: 'number_' is not valid under any of the given",
    ),
    (
        "template_searchpath number",
        "d = DAG('d', template_searchpath=5)",
        1,
        "InvalidArgument: template_searchpath of DAG 'd' must be a folder or a list of folders, not 5",
    ),
    (
        "callback no function",
        "d = DAG('d', on_failure_callback='tell')",
        1,
        "InvalidArgument: on_failure_callback of DAG 'd' must be a function or a notifier, not 'tell'",
    ),
    (
        "unknown operator argument",
        "with DAG('d') as d:\n    BashOperator(task_id='t', bash_comand='true')",
        2,
        "UnknownArgument: BashOperator 't' is missing the keyword argument 'bash_command' ('bash_comand' is no argument; did you mean 'bash_command'?)",
    ),
    (
        "missing operator argument",
        "with DAG('d') as d:\n    BashOperator(task_id='t')",
        2,
        "UnknownArgument: BashOperator 't' is missing the keyword argument 'bash_command'",
    ),
    (
        "positional operator argument",
        "with DAG('d') as d:\n    BashOperator('t', 'true')",
        2,
        "UnknownArgument: Use keyword arguments when creating BashOperator: BashOperator(bash_command=..., env=...)",
    ),
    (
        "task without id",
        "with DAG('d') as d:\n    EmptyOperator()",
        2,
        "UnknownArgument: EmptyOperator is missing the keyword argument 'task_id'",
    ),
    (
        "task_id with a slash",
        "with DAG('d') as d:\n    EmptyOperator(task_id='a/b')",
        2,
        "InvalidArgument: task_id 'a/b' may hold only ASCII letters, digits, dashes and underscores, and dots",
    ),
    (
        "task_id too long",
        "with DAG('d') as d:\n    EmptyOperator(task_id='x' * 300)",
        2,
        "InvalidArgument: task_id 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'... is longer than 250 characters",
    ),
    (
        "task_id twice",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t')\n    EmptyOperator(task_id='t')",
        3,
        "DuplicateTaskIdFound: Task id 't' of DAG 'd' is used already by the task at wrong.py:13",
    ),
    (
        "group and task of one id",
        "with DAG('d') as d:\n    with TaskGroup('g'):\n        EmptyOperator(task_id='t')\n    EmptyOperator(task_id='g')",
        4,
        "DuplicateTaskIdFound: Task id 'g' of DAG 'd' is used already by the group at wrong.py:13",
    ),
    (
        "two DAGs in >>",
        "with DAG('d') as d:\n    a = EmptyOperator(task_id='a')\nwith DAG('e'):\n    b = EmptyOperator(task_id='b')\na >> b",
        5,
        "RelationshipError: Tried to set relationships between tasks in more than one DAG: d, e",
    ),
    (
        ">> with a text",
        "with DAG('d') as d:\n    EmptyOperator(task_id='a') >> 'b'",
        2,
        "RelationshipError: Relationships can only be set between tasks, task groups and XCom arguments; got str 'b'",
    ),
    (
        ">> with a function",
        "with DAG('d') as d:\n    EmptyOperator(task_id='a') >> len",
        2,
        "RelationshipError: Relationships can only be set between tasks, task groups and XCom arguments; got builtin_function_or_method <built-in function len>",
    ),
    (
        "cycle",
        "with DAG('d') as dag:\n    a = EmptyOperator(task_id='a')\n    b = EmptyOperator(task_id='b')\n    a >> b >> a",
        4,
        "AirflowDagCycleException: Cycle detected in DAG 'd': a -> b -> a (dependencies set at line 15)",
    ),
    (
        "itself",
        "with DAG('d') as dag:\n    a = EmptyOperator(task_id='a')\n    a >> a",
        3,
        "AirflowDagCycleException: Cycle detected in DAG 'd': a -> a (dependencies set at line 14)",
    ),
    (
        "retries text",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', retries='three')",
        2,
        "InvalidArgument: retries of task 't' must be a whole number >= 0, not 'three'",
    ),
    (
        "retry_delay text",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', retry_delay='5m')",
        2,
        "InvalidArgument: retry_delay of task 't' must be a timedelta or a number of seconds, not '5m'",
    ),
    (
        "execution_timeout zero",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', execution_timeout=timedelta(0))",
        2,
        "InvalidArgument: execution_timeout of task 't' must be positive, not 0:00:00",
    ),
    (
        "trigger rule misspelt",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', trigger_rule='all_don')",
        2,
        "InvalidArgument: The trigger_rule of task 't' must be one of all_done, all_done_min_one_success, all_done_setup_success, all_failed, all_skipped,",
    ),
    (
        "pool number",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', pool=5)",
        2,
        "InvalidArgument: pool of task 't' must be the name of a pool, not 5",
    ),
    (
        "pool_slots zero",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', pool_slots=0)",
        2,
        "InvalidArgument: pool_slots of task 't' must be at least 1, not 0",
    ),
    (
        "weight_rule misspelt",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', weight_rule='down')",
        2,
        "InvalidArgument: The weight_rule of task 't' must be one of absolute, downstream, upstream; got 'down'",
    ),
    (
        "priority text",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', priority_weight='high')",
        2,
        "InvalidArgument: priority_weight of task 't' must be a whole number, not 'high'",
    ),
    (
        "queue number",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', queue=5)",
        2,
        "InvalidArgument: queue of task 't' must be the name of a queue, not 5",
    ),
    (
        "task callback text",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', on_failure_callback='tell')",
        2,
        "InvalidArgument: on_failure_callback of task 't' must be a function or a notifier, not 'tell'",
    ),
    (
        "python_callable result",
        "with DAG('d') as d:\n    PythonOperator(task_id='t', python_callable=print())",
        2,
        "InvalidArgument: python_callable of task 't' must be a function, not None",
    ),
    (
        "op_kwargs list",
        "with DAG('d') as d:\n    PythonOperator(task_id='t', python_callable=print, op_kwargs=[1])",
        2,
        "InvalidArgument: op_kwargs of task 't' must be a dict of arguments, not [1]",
    ),
    (
        "env of bash",
        "with DAG('d') as d:\n    BashOperator(task_id='t', bash_command='true', env='A=1')",
        2,
        "InvalidArgument: env of task 't' must be a dict such as {'NAME': 'value'}, not 'A=1'",
    ),
    (
        "bash_command list",
        "with DAG('d') as d:\n    BashOperator(task_id='t', bash_command=['ls', '-l'])",
        2,
        "InvalidArgument: bash_command of task 't' must be a text, not list",
    ),
    (
        "task argument missing",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f()",
        4,
        "UnknownArgument: @task f(): missing a required argument: 'x'",
    ),
    (
        "task argument unknown",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f(y=1)",
        4,
        "UnknownArgument: @task f(): missing a required argument: 'x'",
    ),
    (
        "task override unknown",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    f.override(task_ids='x')()",
        4,
        "UnknownArgument: @task of 'f' has no argument 'task_ids'; did you mean 'task_id'?",
    ),
    (
        "@task argument unknown",
        "with DAG('d') as d:\n    @task(retires=3)\n    def f(): ...\n    f()",
        2,
        "UnknownArgument: @task of 'f' has no argument 'retires'; did you mean 'retries'?",
    ),
    (
        "expand without arguments",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.expand()",
        4,
        "UnknownArgument: task 'f': no arguments to expand against",
    ),
    (
        "expand over a number",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.expand(x=5)",
        4,
        "InvalidArgument: task 'f': expand() got an unexpected type 'int' for argument 'x'; a list, a dict or another task's result is expected",
    ),
    (
        "expand over a text",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.expand(x='abc')",
        4,
        "InvalidArgument: task 'f': expand() got an unexpected type 'str' for argument 'x'; a list, a dict or another task's result is expected",
    ),
    (
        "expand unknown",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.expand(y=[1])",
        4,
        "UnknownArgument: @task f(): expand() got an unknown argument 'y'",
    ),
    (
        "partial and expand",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.partial(x=1).expand(x=[1])",
        4,
        "UnknownArgument: task 'f': the mapping argument 'x' is already in partial()",
    ),
    (
        "expand_kwargs of numbers",
        "with DAG('d') as d:\n    @task\n    def f(x): ...\n    f.expand_kwargs([1, 2])",
        4,
        "InvalidArgument: task 'f': expand_kwargs() takes a list of dicts, it holds 1",
    ),
    (
        "operator expand unknown",
        "with DAG('d') as d:\n    BashOperator.partial(task_id='t').expand(bash_comand=['a'])",
        2,
        "UnknownArgument: task 't': BashOperator has no argument 'bash_comand'; did you mean 'bash_command'?",
    ),
    (
        "operator expand of retries",
        "with DAG('d') as d:\n    BashOperator.partial(task_id='t', bash_command='a').expand(retries=[1])",
        2,
        "UnknownArgument: task 't': expand() cannot map 'retries': the scheduler must know it before the values are there. Pass it to partial()",
    ),
    (
        "iterate over an XComArg",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    for x in f(): ...",
        4,
        "TypeError: 'PlainXComArg' object is not iterable: it stands for a value that exists only when the DAG runs. Iterate over it inside a task, or map a",
    ),
    (
        "index an XComArg by number",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    f()[0]",
        4,
        "ValueError: XComArg only supports str lookup, received int; index the value inside a task instead",
    ),
    (
        "if XComArg compare",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    f().foo",
        4,
        "AttributeError: 'PlainXComArg' object has no attribute 'foo'",
    ),
    (
        "map with a task",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    f().map(f)",
        4,
        "ValueError: map() argument must be a plain function, not a @task operator",
    ),
    (
        "zip with a list",
        "with DAG('d') as d:\n    @task\n    def f(): ...\n    f().zip([1])",
        4,
        "TypeError: zip() takes XCom arguments, got list",
    ),
    (
        "asset without a name",
        "Asset('')",
        1,
        "InvalidArgument: Asset name cannot be empty or consist of only whitespace",
    ),
    ("asset of a number", "Asset(5)", 1, "InvalidArgument: Asset name must be a text, not int 5"),
    (
        "asset URI airflow",
        "Asset('a', uri='airflow://x')",
        1,
        "InvalidArgument: Asset scheme 'airflow' is reserved",
    ),
    (
        "asset URI not ASCII",
        "Asset('bücher')",
        1,
        "InvalidArgument: Asset name must be ASCII: 'bücher'",
    ),
    (
        "asset URI password",
        "Asset('a', uri='postgres://me:secret@h:5432/db/s/t')",
        1,
        "InvalidArgument: an Asset's uri must not hold a password, for everybody sees it: write 'postgres://h:5432/db/s/t' and keep the rest in a connection",
    ),
    (
        "asset extra",
        "Asset('a', extra={'x': object()})",
        1,
        "InvalidArgument: extra of Asset 'a' must be JSON: Object of type object is not JSON serializable",
    ),
    (
        "asset group number",
        "Asset('a', group=5)",
        1,
        "InvalidArgument: Asset group must be a text, not int 5",
    ),
    (
        "asset & text",
        "Asset('a') & 'b'",
        1,
        "TypeError: unsupported operand type(s) for &: 'Asset' and 'str'",
    ),
    (
        "schedule list of texts",
        "d = DAG('d', schedule=['a', 'b'])",
        1,
        "InvalidArgument: schedule of DAG 'd': schedule ['a', 'b'] is not understood: expected None, a cron expression, a preset such as '@daily', a",
    ),
    (
        "schedule empty list",
        "d = DAG('d', schedule=[])",
        1,
        "InvalidArgument: schedule of DAG 'd': schedule [] is not understood: expected None, a cron expression, a preset such as '@daily', a timedelta, a",
    ),
    (
        "watcher without a trigger",
        "AssetWatcher('w', trigger='x')",
        1,
        "InvalidArgument: trigger of AssetWatcher 'w' must be a BaseEventTrigger, not 'x'",
    ),
    (
        "own mapper",
        "class Mine(PartitionMapper):\n    def to_downstream(self, key): return key\n\nd = DAG('d', schedule=PartitionedAssetTimetable(assets=Asset('a'), default_partition_mapper=Mine()))",
        4,
        "InvalidArgument: PartitionedAssetTimetable: Mine (wrong.py:12) is a class of your own with methods of its own, and the scheduler, which maps",
    ),
    (
        "own window",
        "class Mine(Window):\n    def to_upstream(self, k): return [k]\n\nd = DAG('d', schedule=PartitionedAssetTimetable(assets=Asset('a'), default_partition_mapper=RollupMapper(upstream_mapper=IdentityMapper(), window=Mine())))",
        4,
        "InvalidArgument: PartitionedAssetTimetable: Mine (wrong.py:12) is a class of your own with methods of its own, and the scheduler, which counts the",
    ),
    (
        "mapper text",
        "d = DAG('d', schedule=PartitionedAssetTimetable(assets=Asset('a'), default_partition_mapper='daily'))",
        1,
        "InvalidArgument: a mapper of PartitionedAssetTimetable must be a PartitionMapper, not 'daily'",
    ),
    (
        "window that does not fit",
        "RollupMapper(upstream_mapper=IdentityMapper(), window=DayWindow())",
        1,
        "TypeError: DayWindow makes periods of datetime values, and IdentityMapper decodes keys to str: they do not go together",
    ),
    (
        "MinimumCount 0",
        "MinimumCount(0)",
        1,
        "ValueError: MinimumCount needs a number other than 0, not 0: how many keys are enough, or, below zero, how many may be missing",
    ),
    (
        "variable missing at top",
        "Variable.get('no_such_variable')",
        1,
        "VariableNotFound: Variable 'no_such_variable' is not defined; set it with: bora variables set no_such_variable VALUE (or by",
    ),
    (
        "variable not JSON",
        "import os; os.environ['BORAFLOW_VAR_SWEEP_J'] = '{'\nVariable.get('sweep_j', deserialize_json=True)",
        2,
        "BoraflowException: Variable 'sweep_j' does not hold valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    (
        "connection missing at top",
        "BaseHook.get_connection('no_such_connection')",
        1,
        "ConnectionNotFound: Connection 'no_such_connection' is not defined; set it with: bora connections set no_such_connection ... (or by",
    ),
    (
        "import of a name that is not there",
        "from boraflow import Operatr",
        1,
        "ImportError: cannot import name 'Operatr' from 'boraflow'; did you mean 'operators'?",
    ),
    (
        "import of an Airflow name",
        "from airflow.models import DagModel",
        1,
        "ModuleNotFoundError: Boraflow has no airflow.models.DagModel yet: tasks have no access to the database; read runs and tasks with boraflow.client, or",
    ),
    (
        "module missing",
        "import no_such_module_sweep",
        1,
        "ModuleNotFoundError: No module named 'no_such_module_sweep'; put it in the DAG folder, or install it where the scheduler and the executors run",
    ),
    (
        "sensor mode",
        "with DAG('d') as d:\n    FileSensor(task_id='t', filepath='x', mode='poll')",
        2,
        "InvalidArgument: The mode of task 't' must be one of poke, reschedule; got 'poll'",
    ),
    (
        "sensor poke_interval",
        "with DAG('d') as d:\n    FileSensor(task_id='t', filepath='x', poke_interval='5s')",
        2,
        "InvalidArgument: poke_interval of task 't' must be a number of seconds >= 0 or a timedelta, not '5s'",
    ),
    (
        "sensor timeout",
        "with DAG('d') as d:\n    FileSensor(task_id='t', filepath='x', timeout=-5)",
        2,
        "InvalidArgument: timeout of task 't' must be a number of seconds >= 0 or a timedelta, not -5",
    ),
    (
        "external sensor nothing",
        "with DAG('d') as d:\n    ExternalTaskSensor(task_id='t')",
        2,
        "UnknownArgument: ExternalTaskSensor 't' is missing the keyword argument 'external_dag_id'",
    ),
    (
        "external sensor both",
        "with DAG('d') as d:\n    ExternalTaskSensor(task_id='t', external_dag_id='x', external_task_id='a', external_task_ids=['b'])",
        2,
        "ValueError: task 't': Only one of `external_task_group_id`, `external_task_id` or `external_task_ids` may be provided",
    ),
    (
        "external sensor states",
        "with DAG('d') as d:\n    ExternalTaskSensor(task_id='t', external_dag_id='x', allowed_states=['done'])",
        2,
        "ValueError: task 't': Valid values for `allowed_states`, `skipped_states` and `failed_states` are: failed, queued, running, success",
    ),
    (
        "trigger conf list",
        "with DAG('d') as d:\n    TriggerDagRunOperator(task_id='t', trigger_dag_id='x', logical_date=5)",
        2,
        "InvalidArgument: logical_date of task 't' must be a text or a datetime, not int",
    ),
    (
        "group id",
        "with DAG('d') as d:\n    with TaskGroup('a b'):\n        EmptyOperator(task_id='t')",
        2,
        "InvalidArgument: group_id 'a b' may hold only ASCII letters, digits, dashes and underscores",
    ),
    (
        "group twice",
        "with DAG('d') as d:\n    with TaskGroup('g'):\n        EmptyOperator(task_id='t')\n    with TaskGroup('g'):\n        EmptyOperator(task_id='t')",
        4,
        "DuplicateTaskIdFound: Group id 'g' of DAG 'd' is used already by the group at wrong.py:13",
    ),
    (
        "group without a DAG",
        "TaskGroup('g')",
        1,
        "RelationshipError: TaskGroup 'g' can only be used inside a DAG: create it in a 'with DAG(...)' block or pass dag=",
    ),
    (
        "teardown of nothing",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t').as_teardown(setups='x')",
        2,
        "RelationshipError: Relationships can only be set between tasks, task groups and XCom arguments; got str 'x'",
    ),
    (
        "branch without function",
        "with DAG('d') as d:\n    @task.branchh\n    def f(): ...",
        2,
        "AttributeError: @task has no variant 'branchh'; did you mean 'branch'?; those of providers need their package",
    ),
    (
        "short circuit",
        "with DAG('d') as d:\n    ShortCircuitOperator(task_id='t', python_callable=5)",
        2,
        "InvalidArgument: python_callable of task 't' must be a function, not 5",
    ),
    (
        "chain lengths",
        "with DAG('d') as d:\n    a, b, c, e, f = [EmptyOperator(task_id=x) for x in 'abcef']\n    chain([a, b], [c, e, f])",
        3,
        "RelationshipError: chain() links two lists in pairs, so they must have the same length; got 2 and 3",
    ),
    (
        "cross_downstream text",
        "with DAG('d') as d:\n    cross_downstream([EmptyOperator(task_id='a')], 'b')",
        2,
        "RelationshipError: Relationships can only be set between tasks, task groups and XCom arguments; got str 'b'",
    ),
    (
        "label of nothing",
        "with DAG('d') as d:\n    EmptyOperator(task_id='a') >> Label(5)",
        2,
        "InvalidArgument: Label() takes a text, not 5",
    ),
    (
        "deadline",
        "d = DAG('d', deadline='1h')",
        1,
        "InvalidArgument: deadline of DAG 'd' must be a DeadlineAlert or a list of them, not '1h'",
    ),
    (
        "retry_policy",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', retry_policy='x')",
        2,
        "InvalidArgument: retry_policy of task 't' must be a RetryPolicy, not 'x'",
    ),
    (
        "executor_config",
        "with DAG('d') as d:\n    EmptyOperator(task_id='t', executor_config='x')",
        2,
        "InvalidArgument: executor_config of task 't' must be a dict, not 'x'",
    ),
    (
        "unknown dag decorator argument",
        "@dag(schedul='@daily')\ndef d(): ...\nd()",
        1,
        "UnknownArgument: @dag has no argument 'schedul'; did you mean 'schedule'?",
    ),
    (
        "@dag argument missing",
        "@dag\ndef d(x): ...\nd()",
        3,
        "UnknownArgument: @dag d(): missing a required argument: 'x'",
    ),
    (
        "virtualenv requirements",
        "with DAG('d') as d:\n    @task.virtualenv(requirements=5)\n    def f(): ...\n    f()",
        4,
        "InvalidArgument: requirements of task 'f' must be a list of packages or a text with one on each line, not 5",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "words"), [w[1:] for w in WRONG_FILES], ids=[w[0] for w in WRONG_FILES]
)
def test_a_wrong_file_has_one_message_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(f"{HEAD}{text}\n")
    (error,) = load_file(file).errors
    assert error.message.startswith(words)
    assert (error.file, error.line) == ("wrong.py", line + HEAD.count("\n"))


class Thing:
    """Nothing that can be stored."""


def _bash(command: str, **arguments: Any) -> Callable[[], object]:
    return lambda: BashOperator(task_id="t", bash_command=command, **arguments)


def _call(function: Callable[..., Any], **arguments: Any) -> Callable[[], object]:
    return lambda: PythonOperator(task_id="t", python_callable=function, **arguments)


def _mapped(values: Any, *, kwargs: bool = False) -> Callable[[], object]:
    def make() -> None:
        @task
        def source() -> Any:
            return values

        @task
        def t(x: Any) -> Any:
            return x

        if kwargs:
            t.expand_kwargs(source())
        else:
            t.expand(x=source())

    return make


def _own() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


RENDERING = "; while rendering BashOperator.bash_command (test_wrong_inputs.py:"
NOT_STORED = "which cannot be stored as an XCom. Return JSON values, dates, Decimal"

WRONG_TASKS: list[tuple[str, Callable[[], object], str, str]] = [
    ("undefined name", _bash("{{ nope }}"), "t", "UndefinedError: 'nope' is undefined" + RENDERING),
    ("open template", _bash("{{ ds "), "t", "TemplateSyntaxError: unexpected end of template"),
    (
        "open block",
        _bash("{% if x %}"),
        "t",
        "TemplateSyntaxError: Unexpected end of template. Jinja was looking",
    ),
    (
        "filter",
        _bash("{{ ds | nosuch }}"),
        "t",
        "TemplateAssertionError: No filter named 'nosuch'." + RENDERING,
    ),
    (
        "template file",
        _bash("no/such/file.sh"),
        "t",
        "TemplateError: template file 'no/such/file.sh' not found; looked in",
    ),
    (
        "macro",
        _bash("{{ macros.nosuch(1) }}"),
        "t",
        "UndefinedError: 'module object' has no attribute 'nosuch'" + RENDERING,
    ),
    ("param", _bash("{{ params.no_such }}"), "t", "has no attribute 'no_such'" + RENDERING),
    (
        "variable in a template",
        _bash("{{ var.value.no_such }}"),
        "t",
        "VariableNotFound: Variable 'no_such' is not defined; set it with: bora variables set no_such VALUE",
    ),
    (
        "connection in a template",
        _bash("{{ conn.no_such.host }}"),
        "t",
        "ConnectionNotFound: Connection 'no_such' is not defined; set it with: bora connections set no_such",
    ),
    (
        "error in a template",
        _bash("{{ 1 / 0 }}"),
        "t",
        "ZeroDivisionError: division by zero" + RENDERING,
    ),
    (
        "pull in a template",
        _bash("{{ ti.xcom_pull(task_ids=5) }}"),
        "t",
        "InvalidArgument: task_ids of xcom_pull must be a task id or a list of them, not int 5"
        + RENDERING,
    ),
    (
        "variable",
        _call(lambda: Variable.get("no_such")),
        "t",
        "VariableNotFound: Variable 'no_such' is not defined; set it with",
    ),
    (
        "connection",
        _call(lambda: BaseHook.get_connection("no_such")),
        "t",
        "ConnectionNotFound: Connection 'no_such' is not defined; set it with",
    ),
    (
        "object",
        _call(Thing),
        "t",
        "XComSerializationError: XCom 'return_value' of task 't' is a tests.unit.boraflow.test_wrong_inputs.Thing, "
        + NOT_STORED,
    ),
    (
        "object inside",
        _call(lambda: {"a": [1, {"b": Thing()}]}),
        "t",
        "XCom 'return_value' of task 't'['a'][1]['b'] is a",
    ),
    (
        "generator",
        _call(lambda: (x for x in [1])),
        "t",
        "XCom 'return_value' of task 't' is a generator, " + NOT_STORED,
    ),
    ("function", _call(lambda: print), "t", "is a builtin_function_or_method, " + NOT_STORED),
    ("list in itself", _call(_own), "t", "XCom 'return_value' of task 't'[0] contains itself"),
    (
        "long text",
        _call(lambda: "x" * 2_000_000),
        "t",
        "XComTooLarge: XCom 'return_value' of task 't' is 2,000,002 bytes as JSON; the limit is 1,048,576 (BORAFLOW_XCOM_MAX_BYTES)",
    ),
    (
        "key of an XCom",
        _call(lambda ti: ti.xcom_push(5, 1)),
        "t",
        "the key of an XCom must be a text, not 5",
    ),
    (
        "map over a number",
        _mapped(5),
        "source",
        "task 'source' feeds a mapping, so it must return a list or a dict; it returned int",
    ),
    (
        "map over a text",
        _mapped("abc"),
        "source",
        "task 'source' feeds a mapping, so it must return a list or a dict; it returned str",
    ),
    (
        "map over nothing",
        _mapped(None),
        "source",
        "task 'source' feeds a mapping, so it must return a list or a dict; it returned None",
    ),
    (
        "map over too many",
        _mapped(list(range(2000))),
        "source",
        "pushed 2000 values to map over, more than the 1024 allowed",
    ),
    (
        "expand_kwargs of numbers",
        _mapped([1], kwargs=True),
        "t",
        "ValueError: expand_kwargs() expects a list of dicts; item 0 is a int",
    ),
    (
        "expand_kwargs unknown",
        _mapped([{"y": 1}], kwargs=True),
        "t",
        "got an unexpected keyword argument 'y'",
    ),
    (
        "expand_kwargs missing",
        _mapped([{}], kwargs=True),
        "t",
        "missing 1 required positional argument: 'x'",
    ),
    ("argument", _call(lambda x: x), "t", "missing 1 required positional argument: 'x'"),
    (
        "op_kwargs",
        _call(lambda: 1, op_kwargs={"x": 1}),
        "t",
        "got an unexpected keyword argument 'x'",
    ),
    ("cwd", _bash("true", cwd="/no/such"), "t", "Can not find the cwd: /no/such"),
    ("exit code", _bash("exit 3"), "t", "The command returned a non-zero exit code 3."),
    (
        "short circuit",
        lambda: ShortCircuitOperator(task_id="t", python_callable=lambda: 1 / 0),
        "t",
        "ZeroDivisionError",
    ),
    (
        "branch to nobody",
        lambda: BranchPythonOperator(task_id="t", python_callable=lambda: "nobody"),
        "t",
        "Invalid tasks found: 'nobody'",
    ),
    (
        "branch to a number",
        lambda: BranchPythonOperator(task_id="t", python_callable=lambda: 5),
        "t",
        "must be either None, a task ID, or an Iterable of IDs, but got 'int'",
    ),
    (
        "conf of a trigger",
        lambda: TriggerDagRunOperator(task_id="t", trigger_dag_id="x", conf="{{ ds }}"),
        "t",
        "conf must be a dict, not str",
    ),  # type: ignore[arg-type]
    (
        "date of a trigger",
        lambda: TriggerDagRunOperator(task_id="t", trigger_dag_id="x", logical_date="soon"),
        "t",
        "logical_date of task 't' is no ISO 8601 date: 'soon'",
    ),
    (
        "connection of a sensor",
        lambda: FileSensor(task_id="t", filepath="x", fs_conn_id="no_such"),
        "t",
        "ConnectionNotFound: Connection 'no_such'",
    ),
    (
        "connection of SQL",
        lambda: SQLExecuteQueryOperator(task_id="t", sql="select 1", conn_id="no_such"),
        "t",
        "ConnectionNotFound: Connection 'no_such'",
    ),
    (
        "partition key",
        _call(
            lambda outlet_events: outlet_events[Asset("a")].add_partitions([5]),
            outlets=[Asset("a")],
        ),
        "t",
        "a partition key must be 1 to 250 characters, not 5",
    ),
    (
        "alias",
        _call(
            lambda outlet_events: outlet_events[AssetAlias("a")].add("x"), outlets=[AssetAlias("a")]
        ),
        "t",
        "AssetAlias('a') can be resolved to an Asset, not 'x'",
    ),
    (
        "inlet",
        _call(lambda inlet_events: inlet_events[Asset("b")]),
        "t",
        "is not among the task's inlets: none",
    ),
    (
        "name of the context",
        _call(lambda dsx: dsx),
        "t",
        "missing 1 required positional argument: 'dsx'",
    ),
    (
        "trigger",
        _call(lambda ti: ti.task.defer(trigger="x", method_name="y")),
        "t",
        "defer() needs a trigger, an object such as TimeDeltaTrigger(...), not 'x'",
    ),
]


@pytest.mark.parametrize(
    ("make", "task_id", "words"), [w[1:] for w in WRONG_TASKS], ids=[w[0] for w in WRONG_TASKS]
)
def test_a_wrong_task_fails_with_one_message(
    make: Callable[[], object], task_id: str, words: str
) -> None:
    with DAG("d") as d:
        make()
    (failed,) = [t for t in d.test().get_task_instances() if t.task_id == task_id]
    assert failed.state == "failed"
    assert words in failed.reason
    assert not re.search(r"\bTraceback\b|\n", failed.reason)
