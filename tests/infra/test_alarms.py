"""Evaluates each alarm of the complete example, as CloudWatch would, on samples that should and should not set it off."""

import unittest

from rendered import Example

COMPLETE = Example("complete")
STATISTICS = {"Sum": sum, "Maximum": max, "Minimum": min, "Average": lambda samples: sum(samples) / len(samples), "SampleCount": len}
OPERATORS = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
ACTIONS = {"ALARM": "alarm_actions", "OK": "ok_actions", "INSUFFICIENT_DATA": "insufficient_data_actions"}


def statistic(alarm):
    """The function that makes one value of a period's samples."""
    queries = [query["metric"][0]["stat"] for query in alarm["metric_query"] if query["metric"]]
    return STATISTICS[queries[0] if queries else alarm["statistic"] or "Sum"]


def state(alarm, periods):
    """The alarm's state after these periods, each a list of samples. An empty list is missing data."""
    values = [statistic(alarm)(samples) if samples else None for samples in periods[-alarm["evaluation_periods"] :]]
    values += [None] * (alarm["evaluation_periods"] - len(values))
    breaches = [None if value is None else OPERATORS[alarm["comparison_operator"]](value, alarm["threshold"]) for value in values]
    missing = {"breaching": True, "notBreaching": False}.get(alarm["treat_missing_data"])
    breaches = [missing if breach is None else breach for breach in breaches]
    known = [breach for breach in breaches if breach is not None]
    return "INSUFFICIENT_DATA" if not known else "ALARM" if all(known) else "OK"


def notifications(alarm, periods):
    """The states that the alarm notified of. A new alarm begins without data, and notifies only of changes."""
    before, notified = "INSUFFICIENT_DATA", []
    for count in range(1, len(periods) + 1):
        now = state(alarm, periods[:count])
        if now != before and alarm[ACTIONS[now]]:
            notified.append(now)
        before = now
    return notified


class Alarms(unittest.TestCase):
    """Every alarm but that of the sweeps goes off above its threshold, and not at it or without data."""

    def alarms(self):
        for alarm in COMPLETE.each("aws_cloudwatch_metric_alarm"):
            if alarm["alarm_name"] != "decamp-no-sweep":
                yield alarm

    def test_one_sample_above_the_threshold_sets_the_alarm_off(self):
        for alarm in self.alarms():
            with self.subTest(alarm["alarm_name"]):
                self.assertEqual(notifications(alarm, [[], [0, 0, alarm["threshold"] + 1], []])[:2], ["OK", "ALARM"])

    def test_without_a_sample_above_the_threshold_no_alarm_goes_off(self):
        for alarm in self.alarms():
            with self.subTest(alarm["alarm_name"]):
                self.assertNotIn("ALARM", notifications(alarm, [[], [0, 0], [alarm["threshold"]], []]))

    def test_a_denial_of_any_call_sets_the_alarm_off(self):
        (alarm,) = [alarm for alarm in self.alarms() if alarm["metric_name"] == "Denied"]
        self.assertEqual((alarm["alarm_name"], alarm["namespace"], alarm["dimensions"]), ("decamp-denied", "decamp", {}))
        # Each new function instance begins its own count. The samples are added up, and one is enough.
        self.assertEqual(notifications(alarm, [[], [1], [], [1, 1]]), ["OK", "ALARM", "OK", "ALARM"])

    def test_one_loss_that_was_not_foreseen_sets_the_alarm_off(self):
        (alarm,) = [alarm for alarm in self.alarms() if alarm["metric_name"] == "NotForeseen"]
        self.assertEqual((alarm["alarm_name"], alarm["namespace"], alarm["dimensions"]), ("decamp-not-foreseen", "decamp", {}))
        self.assertEqual(notifications(alarm, [[], [1], []]), ["OK", "ALARM", "OK"])

    def test_the_age_of_a_message_is_not_added_up(self):
        (alarm,) = [alarm for alarm in self.alarms() if alarm["alarm_name"] == "decamp-message-age"]
        self.assertNotIn("ALARM", notifications(alarm, [[alarm["threshold"] - 1] * 5]))

    def test_the_event_of_a_scheduled_change_may_wait_on_the_queue(self):
        """The example replaces instances with a scheduled change: such a message waits until half a day before the queue would drop it."""
        (alarm,) = [alarm for alarm in self.alarms() if alarm["alarm_name"] == "decamp-message-age"]
        kept = COMPLETE.one("aws_sqs_queue.this[0]")["message_retention_seconds"]
        waits = kept - 12 * 3600
        self.assertNotIn("ALARM", notifications(alarm, [[waits]]))
        self.assertIn("ALARM", notifications(alarm, [[kept - 3600]]))

    def test_every_bad_outcome_is_watched(self):
        (alarm,) = [alarm for alarm in self.alarms() if alarm["alarm_name"] == "decamp-outcomes-web"]
        watched = {query["metric"][0]["dimensions"]["Outcome"] for query in alarm["metric_query"] if query["metric"]}
        self.assertEqual(watched, {"forced", "unconfirmed", "data-left", "timed-out", "retained", "agent-dead", "no-node", "expired"})
        self.assertEqual([query["expression"] for query in alarm["metric_query"] if query["return_data"]], ["SUM(METRICS())"])


class NoSweep(unittest.TestCase):
    """The alarm for missing sweeps."""

    ALARM = COMPLETE.one("aws_cloudwatch_metric_alarm.no_sweep[0]")

    def test_there_is_no_notification_while_the_module_is_installed(self):
        self.assertEqual(notifications(self.ALARM, [[]] * 6), [])
        self.assertNotIn("ALARM", notifications(self.ALARM, [[], [1], [1] * 5]))

    def test_there_is_a_notification_when_sweeps_end(self):
        self.assertEqual(notifications(self.ALARM, [[1] * 5] * 4 + [[]] * 3), ["OK", "INSUFFICIENT_DATA"])

    def test_there_is_a_notification_when_sweeps_cannot_read_anything(self):
        self.assertEqual(notifications(self.ALARM, [[1] * 5] * 4 + [[0] * 5] * 3), ["OK", "ALARM"])

    def test_there_is_no_notification_for_one_period_without_a_sweep(self):
        self.assertEqual(notifications(self.ALARM, [[1] * 5] * 4 + [[]] + [[1] * 5] * 2), ["OK"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
