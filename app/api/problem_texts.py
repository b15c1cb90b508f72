"""What each problem means, where it comes from and how to mend it: prose, no HTTP statuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemText:
    """One page under /problems.

    Attributes:
        title: A few words, the same in every answer of this type.
        meaning: What it says.
        cause: How it usually comes about.
        fix: What to do.
        request: A command that provokes it; {base} is the service's address.
        detail: What the service then answers.
    """

    title: str
    meaning: str
    cause: str
    fix: str
    request: str
    detail: str


_REQUEST_PROBLEMS: Final[Mapping[str, ProblemText]] = {
    "malformed-json": ProblemText(
        title="The body is not JSON",
        meaning="The body could not be read: it is not JSON, not valid UTF-8, or not form fields.",
        cause="A missing quote or bracket, NaN or Infinity (JSON has neither), a name given twice, "
        "or a shell that ate the quotes.",
        fix="Put the body in single quotes in the shell. The detail names line and column.",
        request="curl -d '{\"steps\": 100,}' {base}/v1/jobs",
        detail="Expecting property name enclosed in double quotes: line 1 column 15",
    ),
    "invalid-parameter": ProblemText(
        title="A query parameter or header cannot be used",
        meaning="A query parameter does not exist on this path, or its value is out of bounds.",
        cause="A typing mistake, a field of the spec put into the URL, or a limit above its bound.",
        fix="Fields of a spec belong in the body; GET /openapi.json lists each path's parameters.",
        request="curl '{base}/version?prety'",
        detail='This path has no query parameter "prety": did you mean "pretty"?',
    ),
    "invalid-cursor": ProblemText(
        title="The cursor is not one of ours",
        meaning="The list cannot be continued from this cursor.",
        cause="It was cut, altered, or made by another service.",
        fix="Start without a cursor and follow next_cursor of each answer as it is.",
        request="curl '{base}/v1/jobs?cursor=nonsense'",
        detail="This cursor was not made here: start without one",
    ),
    "validation": ProblemText(
        title="The spec cannot run",
        meaning="The body is JSON, but fields of it are unknown or have values that cannot run.",
        cause="A misspelt field, a number out of bounds, text where a number belongs.",
        fix="errors[] names each place by a JSON pointer, says what is allowed and what was "
        "perhaps meant. ?dry_run checks a spec without running it.",
        request='curl -d \'{"optimiser": "adam"}\' {base}/v1/jobs',
        detail="This field does not exist at /optimiser",
    ),
    "idempotency-key-reused": ProblemText(
        title="The Idempotency-Key belongs to another spec",
        meaning="This key was used before with a spec that resolves differently.",
        cause="A key made once and used for several jobs, or a spec changed between retries.",
        fix="Make a new key for every new job; repeat a key only with the very same spec.",
        request="curl -H 'Idempotency-Key: k1' -d '{\"seed\": 1}' {base}/v1/jobs; "
        "curl -H 'Idempotency-Key: k1' -d '{\"seed\": 2}' {base}/v1/jobs",
        detail="This Idempotency-Key was used with another spec",
    ),
    "payload-too-large": ProblemText(
        title="The body is too large",
        meaning="The body has more bytes than this service accepts.",
        cause="Very many inline points, or numbers written with many digits.",
        fix="GET / tells the limit. Write fewer digits, generate the data, or reuse another job's "
        'points with {"data": {"job": "<id>"}}.',
        request="head -c 9000000 /dev/zero | curl --data-binary @- {base}/v1/jobs",
        detail="The body has more than 8388608 bytes",
    ),
    "request-timeout": ProblemText(
        title="The body did not arrive in time",
        meaning="The request announced a body and did not deliver it within 10 seconds.",
        cause="A broken connection, a client that waits, or a Content-Length that is too large.",
        fix="Send it again.",
        request="(sleep 11; echo '{}') | curl -T - -X POST {base}/v1/jobs",
        detail="The body did not arrive within 10 seconds",
    ),
    "unsupported-media-type": ProblemText(
        title="The body's type cannot be read",
        meaning="The body is neither JSON nor a form nor CSV nor NDJSON, or it is compressed.",
        cause="A Content-Type such as text/plain with a body that does not begin with { or [.",
        fix="Send JSON, application/x-www-form-urlencoded, text/csv or application/x-ndjson, "
        "uncompressed.",
        request="curl -H 'Content-Type: text/plain' -d 'adam' {base}/v1/jobs",
        detail="A body of type text/plain cannot be read: send JSON, form fields "
        "(application/x-www-form-urlencoded), text/csv or application/x-ndjson",
    ),
    "not-acceptable": ProblemText(
        title="None of the accepted formats can be made",
        meaning="The Accept header or ?format asks for a form that this path does not have.",
        cause="An Accept header set by a library, or a misspelt format.",
        fix="Leave Accept out, or ask for one of the types that the detail names.",
        request="curl -H 'Accept: image/webp' {base}/v1/jobs/latest/history",
        detail="This resource comes as application/json, text/csv, application/x-ndjson, and "
        "Accept allows none of them",
    ),
    "unauthorized": ProblemText(
        title="A key is needed",
        meaning="This service asks for a key, and the request carries none that it knows.",
        cause="The operator has set FITJOBS_API_KEYS.",
        fix="Send the header: Authorization: Bearer <key>.",
        request="curl {base}/v1/jobs",
        detail="Send the header Authorization: Bearer <key>",
    ),
    "cross-site-request": ProblemText(
        title="A page of another site may not send this",
        meaning="A browser sent this from a page of another origin in a form that needs no "
        "preflight.",
        cause="A web page elsewhere posts to this service, perhaps without its reader's knowledge.",
        fix="From your own page, send Content-Type: application/json; programs outside a browser "
        "are not concerned.",
        request="curl -H 'Origin: https://example.org' -d 'steps=10' {base}/v1/jobs",
        detail="A page of another origin must send Content-Type: application/json",
    ),
    "precondition-failed": ProblemText(
        title="The job has changed",
        meaning="The job is no longer in the version that If-Match names.",
        cause="Another client, or the job itself, was quicker.",
        fix="Read the job again and repeat the change with its new ETag.",
        request='curl -X PATCH -H \'If-Match: "0"\' -d \'{"name": "n"}\' {base}/v1/jobs/latest',
        detail='The job is at version "3", not "0": read it again, then repeat',
    ),
    "method-not-allowed": ProblemText(
        title="This path does not take this method",
        meaning="The path exists, but not with this method.",
        cause="A GET where a POST is meant, or the reverse.",
        fix="The Allow header lists the methods of this path.",
        request="curl -X DELETE {base}/version",
        detail="/version does not take DELETE: it takes GET, HEAD, OPTIONS",
    ),
}

_STATE_PROBLEMS: Final[Mapping[str, ProblemText]] = {
    "not-found": ProblemText(
        title="No such path",
        meaning="Nothing is served under this path.",
        cause="A typing mistake, or a path of another version.",
        fix="GET / lists the ways in, GET /openapi.json all paths.",
        request="curl {base}/v1/job",
        detail="No resource has the path /v1/job: did you mean /v1/jobs?",
    ),
    "job-not-found": ProblemText(
        title="No such job",
        meaning="No job has this id.",
        cause="A typing mistake, another service's id, or a job that was deleted.",
        fix="GET /v1/jobs lists the jobs that exist.",
        request="curl {base}/v1/jobs/job_unknown",
        detail="There is no job job_unknown",
    ),
    "job-expired": ProblemText(
        title="The job was forgotten",
        meaning="The job existed, ended, and its retention time is over.",
        cause="Finished jobs are kept for a limited time; expires_at tells how long.",
        fix="Submit the spec again; PATCH expires_at next time to keep it longer.",
        request="curl {base}/v1/jobs/job_from_last_year",
        detail="The job job_from_last_year has been forgotten: its retention time is over",
    ),
    "job-not-finished": ProblemText(
        title="The job has not ended",
        meaning="This can be done to finished jobs only.",
        cause="The job is still queued or running.",
        fix="Cancel it first, or wait: GET the job with ?wait.",
        request="curl -X DELETE {base}/v1/jobs/latest",
        detail="The job job_01k6m2v8q4d0c3h5n7r9t1w2xz has not ended: cancel it first",
    ),
    "id-conflict": ProblemText(
        title="The id belongs to another spec",
        meaning="A job with this id exists, and its spec resolves differently.",
        cause="One name used for two different jobs.",
        fix="Choose another id, or PUT the very same spec.",
        request="curl -X PUT -d '{\"seed\": 1}' {base}/v1/jobs/mine; "
        "curl -X PUT -d '{\"seed\": 2}' {base}/v1/jobs/mine",
        detail="The id mine belongs to a job with another spec",
    ),
    "queue-full": ProblemText(
        title="The queue is full",
        meaning="As many jobs wait as this service accepts.",
        cause="Jobs arrive faster than the workers run them.",
        fix="Retry after the seconds in Retry-After, or start more workers.",
        request="curl -d '{}' {base}/v1/jobs",
        detail="10000 jobs are waiting, and no more may",
    ),
    "too-many-requests": ProblemText(
        title="Your key has its share of the queue",
        meaning="One key may not have more waiting jobs than there are places still free.",
        cause="This key submits faster than the workers run; others must find room as well.",
        fix="Retry after the seconds in Retry-After, cancel jobs that wait, or start more workers.",
        request="curl -H 'Authorization: Bearer <key>' -d '{}' {base}/v1/jobs",
        detail="Your key has 5000 of the 10000 places in the queue, and a key may not have more "
        "than are still free: wait for some of your jobs, or cancel them",
    ),
    "device-unavailable": ProblemText(
        title="No live worker has the device",
        meaning="The spec demands a device that no live worker serves.",
        cause="The worker of that device is not running.",
        fix='Start one, or send "if_unavailable": "queue" to wait for one, or "cpu" to run there.',
        request='curl -d \'{"device": "cuda"}\' {base}/v1/jobs',
        detail='No live worker has cuda: start a cuda worker, or send "if_unavailable": "queue" '
        'to wait for one, or "cpu" to run there',
    ),
    "not-ready": ProblemText(
        title="No job can run yet",
        meaning="GET /readyz says what is missing: Redis, or a live worker.",
        cause="The service is starting, or its workers are down.",
        fix="Wait, or start a worker. Submitting is possible as soon as Redis answers.",
        request="curl {base}/readyz",
        detail="No job can run yet: no worker is live",
    ),
    "chart-unavailable": ProblemText(
        title="The picture was not drawn in time",
        meaning="Too many pictures are asked for, or this one took too long.",
        cause="Pictures are drawn one at a time; the first one starts the renderer.",
        fix="Retry after the seconds in Retry-After, or take chart.txt or chart.json, which need "
        "no renderer.",
        request="curl {base}/v1/jobs/latest/chart.svg",
        detail="The chart was not drawn within 20 s",
    ),
    "store-unavailable": ProblemText(
        title="The store does not answer",
        meaning="Redis is away or refuses to write; whether a submit was accepted is not known.",
        cause="Redis is restarting, out of memory, not reachable, or has fewer replicas than it must.",
        fix="Retry after the seconds in Retry-After, with the same Idempotency-Key or your own "
        "id, so that the job runs once.",
        request="curl -d '{}' {base}/v1/jobs",
        detail="The store does not answer: try again",
    ),
    "internal": ProblemText(
        title="A defect of this service",
        meaning="Something failed that should not fail; the log has it under the request id.",
        cause="A programming error.",
        fix="Report it with the request_id.",
        request="",
        detail="Something went wrong here; the log has it under this request_id",
    ),
}

JOB_PROBLEMS: Final[Mapping[str, ProblemText]] = {
    "diverged": ProblemText(
        title="The fit ran away",
        meaning="Loss or parameters became infinite or NaN; the job keeps its history and best.",
        cause="A learning rate above the largest stable one, or data on a very wide scale.",
        fix="Lower lr; result.problem.largest_stable_sgd_lr tells the bound for plain SGD.",
        request='curl -d \'{"optimizer": "sgd", "lr": 1000}\' {base}/fit',
        detail="The loss is not finite",
    ),
    "time-limit-exceeded": ProblemText(
        title="The run took too long",
        meaning="The run was stopped at its timeout_seconds.",
        cause="Many steps, many points, or an optimizer with costly steps.",
        fix="Raise timeout_seconds or lower steps.",
        request='curl -d \'{"steps": 10000000, "timeout_seconds": 0.5}\' {base}/fit',
        detail="The run took longer than timeout_seconds",
    ),
    "queue-time-exceeded": ProblemText(
        title="The job waited too long",
        meaning="No worker took the job before the service's limit on waiting.",
        cause="No worker of its device is running, or the queue is very long.",
        fix="Look at GET /v1/workers, then rerun the job.",
        request="curl -X POST {base}/v1/jobs/latest/rerun",
        detail="No worker took the job in time",
    ),
    "worker-lost": ProblemText(
        title="Workers died on this job",
        meaning="Several attempts in a row ended and had come no further.",
        cause="The worker process was killed, most often for memory.",
        fix="Look at the workers' log; rerun with fewer points, or give the workers more memory.",
        request="curl -X POST {base}/v1/jobs/latest/rerun",
        detail="The workers died before a step was made",
    ),
    "out-of-memory": ProblemText(
        title="Memory did not suffice",
        meaning="The device could not hold the data or the optimizer's state.",
        cause="Many points on a small or shared device.",
        fix="Fewer points, float32, a batch_size, or another device.",
        request="curl -X POST {base}/v1/jobs/latest/rerun",
        detail="The device ran out of memory",
    ),
    "device-error": ProblemText(
        title="The device failed",
        meaning="The device reported an error while the job ran.",
        cause="A driver or hardware fault, or a device index that does not exist.",
        fix='Rerun; with "device": "cpu" if it comes again.',
        request='curl -X POST -d \'{"device": "cpu"}\' {base}/v1/jobs/latest/rerun',
        detail="The device reported an error",
    ),
}

TEXTS: Final[Mapping[str, ProblemText]] = {
    **_REQUEST_PROBLEMS,
    **_STATE_PROBLEMS,
    **JOB_PROBLEMS,
}
"""Every problem type by its slug."""
