"""The executable is one file that needs libc alone."""

import os
import re
import shutil
import unittest

from qc_test import tools

STORY = os.path.join(tools.EXAMPLES, "stories260K")
PROMPT = ["--prompt", "Once upon a time", "--temperature", "0"]
# The system's C library in its parts (glibc's versions differ in the split).
ALLOWED = re.compile(r"(libc|libm|libpthread|libdl|librt|ld-linux-x86-64)\.so\.\d+$")


class StandaloneTest(tools.Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.story = tools.compile_model(STORY, os.path.join(cls.folder, "story"))

    def test_needs_only_libc(self):
        listing = tools.run(["readelf", "-d", self.story]).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", listing)
        self.assertEqual([n for n in needed if not ALLOWED.match(n)], [])
        self.assertNotRegex(listing, r"R(UN)?PATH")

    def test_runs_in_a_bare_chroot(self):
        if os.geteuid() != 0:
            self.skipTest("skipped: chroot needs root")
        root = self.path("root")
        os.makedirs(root)
        shutil.copy(self.story, root)
        # Both the loader and the libraries that it would find.
        for path in re.findall(r"(/\S+)", tools.run(["ldd", self.story]).stdout):
            os.makedirs(root + os.path.dirname(path), exist_ok=True)
            shutil.copy(path, root + path)
        options = [*PROMPT, "--tokens", "20", "--quiet"]
        bare = tools.run(["chroot", root, "/story", *options]).stdout
        self.assertEqual(bare, tools.run([self.story, *options]).stdout)
        self.assertTrue(bare.strip())

    def test_moved_and_renamed(self):
        path = self.path("an other name")
        shutil.copy(self.story, path)
        tools.run([path, *PROMPT, "--tokens", "3"], cwd="/")

    def test_output_does_not_depend_on_threads(self):
        outputs = {
            tools.run(
                [self.story, *PROMPT, "--tokens", "60", "--quiet", "--threads", threads]
            ).stdout
            for threads in (1, 2, 3, 5)
        }
        self.assertEqual(len(outputs), 1, outputs)

    def test_self_test_passes(self):
        done = tools.run([self.story, "--self-test"])
        self.assertRegex(done.stdout + done.stderr, r"\d")

    def test_same_input_same_executable(self):
        again = tools.compile_model(STORY, self.path("again"))
        with open(self.story, "rb") as one, open(again, "rb") as two:
            self.assertEqual(one.read(), two.read())


class StoryTest(tools.Scratch):
    """The f32 model tells the story that transformers tells."""

    def test_story(self):
        readme = tools.shared("README.md")
        with open(readme, encoding="utf-8") as file:
            match = re.search(r'200 new tokens\): "(.*)"$', file.read(), re.MULTILINE)
        expected = match.group(1).replace('\\"', '"').replace("\\n", "\n")
        story = tools.compile_model(STORY, self.path("story"), "--quantize=none")
        # The README's prompt, of 16 tokens.
        prompt = "Once upon a time, there was a little girl named Lily."
        done = tools.run(
            [story, "--prompt", prompt, "--temperature", "0", "--tokens", "200"]
        )
        self.assertEqual(done.stdout.rstrip("\n"), expected)


if __name__ == "__main__":
    unittest.main()
