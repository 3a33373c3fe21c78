"""Durable background work on procrastinate: `db.jobs`, and the workers that run it.

A job is a row of procrastinate's queue in the application's own PostgreSQL. It is put there in a transaction, survives whoever
put it there, and is run by any worker of any machine: `dal worker`, or `with db.worker():` inside a process. What dal adds to
the queue: progress that can be read from anywhere, the result and the error, a word when it is over, workers whose jobs go on
at once when they are killed, and imports that lose and double nothing.
"""

from dal.jobs.current import RunningJob, current_job
from dal.jobs.job import Job
from dal.jobs.jobs import Jobs
from dal.jobs.progress import Progress
from dal.jobs.worker import Worker

__all__ = ["Job", "Jobs", "Progress", "RunningJob", "Worker", "current_job"]
