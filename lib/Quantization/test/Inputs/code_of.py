"""Code that documentation shows: code_of.py FILE tablegen|cpp|comment.

The first block of Markdown in that language, or the class in a comment that
begins a header.
"""

import re
import sys

path, language = sys.argv[1:]
with open(path) as file:
    text = file.read()
if language == "comment":
    lines = text.split("\n\n", 1)[0].splitlines()
    lines = [line.removeprefix("//   ") for line in lines]
    first = next(i for i, line in enumerate(lines) if line.startswith("class "))
    print("\n".join(lines[first : lines.index("};") + 1]))
else:
    print(re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1])
