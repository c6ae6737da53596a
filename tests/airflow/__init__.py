"""Tests of the Airflow operator, run by `make test-airflow` in an environment of its own."""
