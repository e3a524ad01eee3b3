"""A DAG file with a mistake: its import error is shown."""

import boraflow.operators

score = boraflow.operators.SparkSubmitOperator(task_id="score")
