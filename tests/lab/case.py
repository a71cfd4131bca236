"""Tests that share one laboratory: a class of them names its hosts and finds them in self.lab."""

import unittest

from .laboratory import Lab, needs


class LabCase(unittest.TestCase):
    """Skipped with the reason where a laboratory cannot be built; shows all logs when a test fails.

    class Http(LabCase):
        HOSTS = ["client", "server"]
        PROGRAMS = ["nginx", "curl"]

        @classmethod
        def prepare(cls, lab):
            lab.start_controller()
            lab.start_node()
    """

    HOSTS = ["client", "server"]
    PROGRAMS = []
    MTU = 1500
    lab = None

    @classmethod
    def prepare(cls, lab):
        """What all tests of the class need; called once, with the hosts standing."""

    @classmethod
    def setUpClass(cls):
        if reason := needs(*cls.PROGRAMS):
            raise unittest.SkipTest(reason)
        cls.lab = cls.enterClassContext(Lab(*cls.HOSTS, mtu=cls.MTU))
        try:
            cls.prepare(cls.lab)
        except Exception:
            cls.lab.show_logs()
            raise

    def run(self, result=None):
        result = result if result is not None else self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.lab.show_logs()
        return result
