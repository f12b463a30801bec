#!/usr/bin/env python3
"""Compares qc's chat templates with Jinja2 as transformers sets it up.

Whole templates (test/Unit/Chat/templates and the shared data) on many
conversations, and small expressions for each filter, test, method and operator.

    python3 python/tests/test_chat_templates.py [QC_RENDER_CHAT]
    python3 python/tests/test_chat_templates.py --expected > test/Unit/Chat/Expected.inc

The second form writes the C++ test's expected texts. Prints "skipped" if
something is missing; exit status 1 on a mismatch.
"""
import glob
import json
import os
import subprocess
import sys
import time
import unittest
from datetime import datetime

try:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError as e:
    print(f"skipped: {e}")
    if __name__ == "__main__":
        sys.exit(0)
    raise unittest.SkipTest(f"skipped: {e}")

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DATA = os.environ.get("QC_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
NOW = 1700000000


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers' AssistantTracker, without tracking."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.fromtimestamp(NOW).strftime(f)
    return env


def reference(env, case):
    """The text, or None if Jinja2 fails."""
    try:
        return env.from_string(case["template"]).render(messages=case["messages"], tools=None, documents=None,
                                                        add_generation_prompt=case["prompt"], bos_token=case["bos"], eos_token=case["eos"])
    except Exception:
        return None


def message(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [message("user", "Hello, how are you?")],
    [message("system", "You are terse."), message("user", "Hi")],
    [message("user", " Two \n"), message("assistant", " spaces  "), message("user", "\tand\ttabs ")],
    [message("system", "Be kind.\nAlways."), message("user", "Was ist <b>das</b>?"), message("assistant", "Ein \"Tag\" & mehr."), message("user", "日本語で 😀?")],
    [message("user", "a"), message("assistant", "<think>\nhmm\n</think>\n\nb"), message("user", "c"), message("assistant", "<think>x</think>y")],
    [message("user", "a"), message("user", "b")],
    [message("assistant", "first")],
    [message("user", "{{ 1 + 1 }}{% if %}{# no #}"), message("assistant", "</s><|im_end|>"), message("user", "it's 'quoted' \\n")],
    [message("other", "role")],
    [message("user", "")],
    [],
    [message("user", "x" * 5000)] + [message("assistant" if i % 2 == 0 else "user", str(i)) for i in range(40)],
]

EXPRESSIONS = r"""
1 + 2 * 3 - 4 | 7 // 2 | -7 // 2 | -7 % 3 | 7 % -3 | 7 / 2 | 2 ** 10 | 2 ** -1 | -2 ** 2 | 1.5 + 1 | 10 / 5 | 1e3 | 1e20 | 1.5e-7 | 0.1 + 0.2 | 1_000
'a' ~ 1 ~ none ~ true ~ 1.0 | 'a' + 'b' * 3 | 3 * 'ab' | [1] + [2, 'x'] | [0] * 3 | (1, 2) | (1,) | () | {'a': 1, 'b': [none, true]} | {} | 'it\'s' ~ ['it\'s', "q\"", 'n\n'] | "\u00e9\x41\t|"
1 < 2 < 3 | 1 < 3 < 2 | 1 == 1.0 | true == 1 | 'a' < 'b' | [1, 2] < [1, 3] | 'a' in 'cat' | 'x' not in 'cat' | 2 in [1, 2] | 'k' in {'k': 1} | none == none | 'a' == 1 | not 1 == 2 | not true | 1 != 2 and 3 | 0 or 'x' | '' and 1
'yes' if 1 else 'no' | 'yes' if 0 | 'a' if 0 else 'b' if 0 else 'c' | (1 if false) is defined
messages | length | messages[0].role | messages[0]['role'] | messages[-1].content | messages[99] is defined | messages[0].nope is defined | nope is defined | nope | nope.x | nope + 1 | nope ~ 'a' | messages[0].nope.x
'hello'[1] | 'hello'[-1] | 'hello'[1:3] | 'hello'[::-1] | 'hello'[:-1] | 'hello'[-3:] | 'hello'[10:] | 'hello'[::2] | [1, 2, 3][::-1] | [1, 2, 3][1:] | [1, 2, 3][:0] | (1, 2, 3)[1:] | 'größe'[2] | 'größe'[1:4] | '日本語'[::-1] | [1,2,3][3:0:-1] | 'abc'[5] is defined
' x y '|trim | '  x'|trim|upper | 'xxaxx'|trim('x') | 'Hello World'|lower | 'straße ǆ'|upper | 'ÀÉ'|lower | 'hello wORLD foo-bar'|title | 'hello WORLD'|capitalize | 'a b a'|replace('a', 'c') | 'aaa'|replace('a', 'b', 2) | 'ab'|replace('', '-')
[1, 2, 3]|join | [1, 2]|join(', ') | ['a', none, 1.5]|join('-') | messages|map(attribute='role')|join(',') | 'abc'|join('.') | messages|map(attribute='nope', default='?')|join(',') | ['a', 'b']|map('upper')|list | [1, 2]|map('string')|list
[3, 1, 2]|sort | ['b', 'A', 'c']|sort | ['b', 'A', 'c']|sort(case_sensitive=true) | [3, 1]|sort(reverse=true) | messages|sort(attribute='content')|map(attribute='content')|list | [1, 2, 1]|unique|list | ['a', 'A', 'b']|unique|list | [1, 5, 3]|max | [1, 5, 3]|min | [1, 2, 3]|sum | [1.5, 2]|sum | []|sum | []|max is defined
'abc'|first | [1, 2]|last | []|first is defined | 'abc'|last | 'abc'|length | '日本'|count | {'a': 1}|length | nope|length | 'abc'|list | {'a': 1, 'b': 2}|list | 'abc'|reverse | [1, 2]|reverse|list
nope|default('d') | ''|default('d') | ''|default('d', true) | none|default('d') | nope|d | none|default('d', boolean=true) | 0|default(5, true)
'5'|int | ' 7 '|int | '5.9'|int | 'x'|int | 'x'|int(3) | 5.9|int | -5.9|int | true|int | '1.5'|float | 'x'|float | 3|float | 42|string | 2.5|round | 3.5|round | 2.567|round(2) | 2.1|round(0, 'ceil') | 2.9|round(method='floor') | -5|abs | -5.5|abs
'a\nb\n\nc'|indent | 'a\nb'|indent(2, true) | 'a\n\nb'|indent(2, blank=true) | 'a b  c'|wordcount | '<a href="x">&\'</a>'|e | '<b>'|safe | 'x'|escape
{'b': 1, 'a': [1, 2.5, 'é"\n', none, true, {}], 'c': {'d': []}}|tojson | {'a': [1, {'b': 2}], 'c': []}|tojson(indent=2) | 'x\u0001\t'|tojson | [1]|tojson(indent=4) | 1.0|tojson | none|tojson | 'ü'|tojson
{'b': 1, 'a': 2}|dictsort | {'b': 1}|items|list | {'a': 1}.items()|list | {'a': 1}.keys()|list | {'a': 1, 'b': 2}.values()|list | {'a': 1}.get('a') | {'a': 1}.get('x') | {'a': 1}.get('x', 5) | {'a': 1}.a | {'a': 1}['a'] | {'items': 3}.items is callable | {'items': 3}['items']
messages|selectattr('role', 'equalto', 'user')|list|length | messages|rejectattr('role', '==', 'user')|list|length | [1, 2, 3, 4]|select('even')|list | [1, 2, 3]|reject('odd')|list | [0, 1, '']|select|list | messages|selectattr('nope', 'defined')|list | messages|selectattr('content')|list|length | [1, 5]|select('>', 2)|list | ['a', 'b']|select('in', ['b'])|list
1 is odd | 2 is even | 9 is divisibleby 3 | 9 is divisibleby(2) | 'a' is string | 1 is string | [] is iterable | 1 is iterable | {} is mapping | [] is mapping | [] is sequence | 1 is number | true is number | 1.5 is float | 1 is integer | true is integer | true is boolean | none is none | 0 is none | true is true | 1 is true | false is false | 'a' is not none | 1 is not string | 'A' is upper | 'aB' is lower | '1' is lower | 1 is eq 1 | 2 is gt 1 | 1 is lt(2) | 1 is in [1, 2] | nope is undefined | none is sameas none | raise_exception is callable | not 'a' is string
' x '.strip() | 'xyx'.strip('x') | ' x '.lstrip() ~ '|' | ' x '.rstrip() | 'a,b,c'.split(',') | 'a,b,c'.split(',', 1) | ' a  b '.split() | 'a b c'.split(none, 1) | 'a,b,c'.rsplit(',', 1) | 'a b c'.rsplit(none, 1) | 'a\nb\r\nc'.splitlines() | 'a\n'.splitlines(true) | 'abc'.startswith('ab') | 'abc'.startswith(('x', 'a')) | 'abc'.endswith('bc') | 'aXa'.replace('a', 'b') | 'aaa'.replace('a', 'b', 1) | 'ab'.upper() | 'AB'.lower() | "they're bill's".title() | 'aB'.capitalize() | 'abcb'.find('b') | 'abcb'.rfind('b') | '日本b'.find('b') | 'abc'.find('x') | 'abab'.count('ab') | ','.join(['a', 'b']) | 'prefix-x'.removeprefix('prefix-') | 'x.py'.removesuffix('.py') | '12'.isdigit() | ''.isdigit() | ' '.isspace() | 'AB'.isupper() | 'ab1'.islower() | 'abc'.nope is defined
range(3)|list | range(1, 7, 2)|list | range(3, 0, -1)|list | dict(a=1, b='x') | namespace(a=1).a | strftime_now('%Y-%m-%d %H:%M') | loop is defined | 'a' 'b' | "a" ~ 'b' | messages is iterable | [1, 2] == [1, 2] | {'a': 1} == {'a': 1} | (1 + 2)|string + 'x' | -1|abs | 1 + 2|string|length | 'x' is defined and 1 | not nope
1 + 'a' | 'a' + 1 | [1] + 'a' | 1 < 'a' | 'a' > none | 1 / 0 | 5 % 0 | 5 // 0 | nope() | 'a'() | messages.append(1) | 1|nope | 1 is nope | [1]['a'] is defined | 1[0] is defined | none.x is defined | 1|length | {} < {} | range() | '1'|abs | raise_exception('no') | none|trim | 1|upper | none|join | -nope
""".strip().split("\n")

STATEMENTS = [
    "{% for m in messages %}{{ loop.index }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}|{% endfor %}",
    "{% for i in range(10) %}{% if i == 3 %}{% continue %}{% endif %}{% if i > 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in range(5) if i is odd %}{{ i }}-{{ loop.index }} {% endfor %}", "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }},{% endfor %}",
    "{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in {'x': 1} %}{{ k }}{% endfor %}", "{% for c in 'äb' %}[{{ c }}]{% endfor %}",
    "{% set x = 1 %}{% for i in range(3) %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x * 2 %}{% endfor %}{{ ns.x }}",
    "{% if true %}{% set y = 5 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set t %}in{{ 1 }}ner{% endset %}[{{ t }}]", "{% set t = 1, 2 %}{{ t }}",
    "{% macro f(a, b=2) %}{{ a }}:{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=4, a=0) }} {{ f() }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}", "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {% endif %}\nc\n\n",
    "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc", "  {{ 1 }}\n  {{- 2 -}}\n  {{ 3 }}", "x {# comment #} y\n{# line #}\nz", "x {#- comment -#} y", "  {%+ if true %}\n a{% endif +%}\nb", "{% raw %}{{ x }}{% endraw %}", "a {%- raw -%} {{ x }} {%- endraw -%} b",
    "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}", "{{ {'a': {'b': 1}} }}", "\r\na\r\nb", "{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% if nope %}1{% elif 0 %}2{% elif 'x' %}3{% else %}4{% endif %}", "{% if messages %}y{% endif %}",
    "{% for m in messages %}{% set content = m.content %}{% if content is string %}{{ content | trim }}{% endif %}{% endfor %}{{ content is defined }}", "{%- set messages = messages[1:] -%}{{ messages | length }}",
    "{% for m in messages %}{% set messages = 5 %}{{ messages }}{% endfor %}", "{% generation %}g{% endgeneration %}\nx", "{% set x = [1, 2] %}{{ x[0] }}{{ x.0 }}", "{{ 1, 2 }}", "{% set ns = namespace() %}{% set ns.a = 'b' %}{{ ns.a }}{{ ns['a'] }}{{ ns.c is defined }}",
    "{% set x.y = 1 %}", "{% for i in 5 %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% if %}{% endif %}", "{{ 1 + }}", "{% for %}", "{% if 1 %}", "{% endif %}", "{{ 'a", "{% nope %}", "{{ (1 }}", "{{ [1 }}", "{# x", "{{ 1 ", "{% raw %}x", "{{ a b }}", "{% break %}",
    "{% for i in range(3) -%}\n  {{ i }}\n{%- endfor %}", "{% if true -%}   \n\n  x{% endif %}", "   {% set a = 1 %}   \n   {{ a }}   \n", "{% for i in range(2) %}\n{{ i }}\n{% endfor %}\n", "{{ 'a'\n~ 'b' }}{% if\ttrue %}x{% endif %}", "{{- 'x' }}\n\n{%- if 1 %}\n\ny{% endif %}",
]


def cases():
    out = []
    paths = sorted(glob.glob(os.path.join(ROOT, "test", "Unit", "Chat", "templates", "*.jinja")))
    paths += sorted(glob.glob(os.path.join(DATA, "tokenizers", "chat-templates", "*.jinja")))
    for path in paths:
        source = open(path, encoding="utf-8", newline="").read()
        for i, conversation in enumerate(CONVERSATIONS):
            for prompt in (False, True):
                out.append((f"{os.path.basename(path)} #{i}", source, conversation, prompt))
    for line in EXPRESSIONS:
        # " | " separates expressions; filters are written without spaces.
        for expression in line.split(" | "):
            out.append((expression, "{{ " + expression + " }}", CONVERSATIONS[3], False))
            out.append((expression, "{% set v = " + expression + " %}{{ v is string }}{{ v }}", CONVERSATIONS[3], False))
    out += [(s, s, CONVERSATIONS[3], False) for s in STATEMENTS]
    return [{"name": n, "template": t, "messages": m, "prompt": p, "bos": "<s>", "eos": "</s>", "now": NOW} for n, t, m, p in out]


def find_tool():
    candidates = [os.environ.get("QC_RENDER_CHAT", "")]
    candidates += sorted(glob.glob(os.path.join(ROOT, "build", "*", "unittests", "qc-render-chat")))
    candidates += sorted(glob.glob(os.path.join(ROOT, "build*", "unittests", "qc-render-chat")))
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


def run():
    tool = sys.argv[1] if len(sys.argv) > 1 and os.access(sys.argv[1], os.X_OK) else find_tool()
    if not tool:
        print("skipped: qc-render-chat is not built")
        return None
    env, all_cases = environment(), cases()
    data = "".join(json.dumps(c) + "\n" for c in all_cases).encode()
    done = subprocess.run([tool], input=data, stdout=subprocess.PIPE)
    results = [json.loads(l) for l in done.stdout.decode().splitlines()]
    bad = abs(len(results) - len(all_cases)) + (done.returncode != 0)
    refused = 0
    for case, got in zip(all_cases, results):
        expected = reference(env, case)
        refused += expected is None
        if got.get("out") != expected or "\n" in got.get("error", ""):
            bad += 1
            print(f"  MISMATCH {case['name']}\n    got {got!r:.400}\n    not {expected!r:.400}")
    print(f"jinja2 {jinja2.__version__}: compared {len(all_cases)} renderings ({refused} refused by both), {bad} mismatches")
    return bad


def write_expected():
    """Expected texts of the C++ test: {template, conversation, prompt, text}."""
    env = environment()
    print("// Generated by python/tests/test_chat_templates.py --expected with Jinja2;\n// {template, conversation, add_generation_prompt, text}, null: refused.")
    for path in sorted(glob.glob(os.path.join(ROOT, "test", "Unit", "Chat", "templates", "*.jinja"))):
        source = open(path, encoding="utf-8", newline="").read()
        for i in range(6):
            prompt = i % 2 == 0
            text = reference(env, {"template": source, "messages": CONVERSATIONS[i], "prompt": prompt, "bos": "<s>", "eos": "</s>"})
            if "date" in path and text is not None:
                continue  # depends on the time zone
            name = os.path.basename(path)[:-len(".jinja")]
            quoted = "nullptr" if text is None else "R\"qc(" + text + ")qc\""
            print(f'{{"{name}", {i}, {str(prompt).lower()},\n {quoted}}},')


class ChatTemplateTest(unittest.TestCase):
    def test_equal_to_jinja2(self):
        result = run()
        if result is None:
            self.skipTest("skipped")
        self.assertEqual(result, 0)


if __name__ == "__main__":
    if "--expected" in sys.argv:
        write_expected()
    else:
        sys.exit(1 if run() else 0)
