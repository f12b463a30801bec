//===- Methods.cpp - Methods of values and global functions ---------------===//
//
// Methods of Python's str and dict that do not change the object; Jinja's
// immutable sandbox refuses the others.
//
//===----------------------------------------------------------------------===//
#include "Interpreter.h"

#include <algorithm>
#include <map>

using namespace qc::rt::chat;

namespace {

using MethodFn = Value (*)(Interpreter &, const std::string &,
                           const Arguments &);

const std::string &text(const Arguments &a, size_t index, const char *method) {
  if (index >= a.positional.size() || !a.positional[index].string())
    throw TemplateError{std::string(method) + ": argument " +
                        std::to_string(index + 1) + " is not a str"};
  return *a.positional[index].string();
}

int64_t count(const Arguments &a, size_t index, const char *name,
              const char *method) {
  int64_t n = -1;
  const Value *v = a.get(index, name);
  if (v && !v->integer(n))
    throw TemplateError{std::string(method) + ": '" + name +
                        "' is not an integer"};
  return n;
}

const std::string *optionalChars(const Arguments &a, const char *method) {
  if (a.positional.empty() || a.positional[0].isNone())
    return nullptr;
  return &text(a, 0, method);
}

Value pieces(Interpreter &i, const std::vector<std::string_view> &parts) {
  List out;
  for (std::string_view part : parts) {
    i.charge(part.size() + sizeof(Value));
    out.push_back(std::string(part));
  }
  return Value::list(std::move(out));
}

/// Python's split and rsplit.
Value split(Interpreter &i, const std::string &s, const Arguments &a,
            bool fromRight) {
  const Value *sep = a.get(0, "sep");
  int64_t limit = count(a, 1, "maxsplit", "split");
  if (sep && !sep->isNone() && !sep->string())
    throw TemplateError{"split: separator is not a str"};
  std::vector<std::string_view> parts;
  std::string_view rest = s;
  if (sep && sep->string()) {
    std::string_view separator = *sep->string();
    if (separator.empty())
      throw TemplateError{"split: empty separator"};
    while (limit != 0) {
      size_t at = fromRight ? rest.rfind(separator) : rest.find(separator);
      if (at == std::string_view::npos)
        break;
      --limit;
      if (fromRight) {
        parts.push_back(rest.substr(at + separator.size()));
        rest = rest.substr(0, at);
      } else {
        parts.push_back(rest.substr(0, at));
        rest = rest.substr(at + separator.size());
      }
    }
    parts.push_back(rest);
  } else { // runs of white space, none at the ends
    i.charge(s.size() * sizeof(std::string_view));
    rest = strip(rest, nullptr, true, true);
    while (!rest.empty()) {
      std::vector<std::string_view> characters = codePoints(rest);
      size_t at = 0;
      auto space = [&](size_t k) { return isSpace(characters[k]); };
      if (limit == 0) {
        parts.push_back(rest);
        break;
      }
      --limit;
      i.charge(rest.size()); // each round looks at all that is left
      if (fromRight) {
        at = characters.size();
        while (at > 0 && !space(at - 1))
          --at;
        size_t offset =
            at < characters.size()
                ? static_cast<size_t>(characters[at].data() - rest.data())
                : rest.size();
        parts.push_back(rest.substr(offset));
        rest = strip(rest.substr(0, offset), nullptr, false, true);
      } else {
        while (at < characters.size() && !space(at))
          ++at;
        size_t offset =
            at < characters.size()
                ? static_cast<size_t>(characters[at].data() - rest.data())
                : rest.size();
        parts.push_back(rest.substr(0, offset));
        rest = strip(rest.substr(offset), nullptr, true, false);
      }
    }
  }
  if (fromRight)
    std::reverse(parts.begin(), parts.end());
  return pieces(i, parts);
}

Value splitLines(Interpreter &i, const std::string &s, const Arguments &a) {
  const Value *keep = a.get(0, "keepends");
  std::vector<std::string_view> parts;
  std::string_view rest = s;
  while (!rest.empty()) {
    size_t at =
        std::min(rest.find_first_of("\n\r\v\f\x1c\x1d\x1e"), rest.size());
    size_t end = at == rest.size() ? at : at + 1;
    if (rest.substr(at, 2) == "\r\n")
      ++end;
    parts.push_back(rest.substr(0, keep && keep->truthy() ? end : at));
    rest.remove_prefix(end);
  }
  return pieces(i, parts);
}

bool affix(const std::string &s, const Arguments &a, bool start) {
  if (a.positional.size() != 1)
    throw TemplateError{"startswith and endswith take one argument"};
  auto matches = [&](const Value &v) {
    if (!v.string())
      throw TemplateError{"startswith and endswith need a str"};
    return start ? s.starts_with(*v.string()) : s.ends_with(*v.string());
  };
  if (const List *list = a.positional[0].list())
    return std::any_of(list->begin(), list->end(), matches);
  return matches(a.positional[0]);
}

Value findText(const std::string &s, const Arguments &a, bool last) {
  const std::string &needle = text(a, 0, "find");
  if (a.positional.size() > 1)
    throw TemplateError{"find with a start is not supported"};
  size_t at = last ? s.rfind(needle) : s.find(needle);
  if (at == std::string::npos)
    return int64_t(-1);
  return static_cast<int64_t>(length(Value(s.substr(0, at))));
}

/// True if there are characters and all satisfy `predicate`.
bool all(const std::string &s, bool (*predicate)(std::string_view)) {
  std::vector<std::string_view> list = codePoints(s);
  return !list.empty() && std::all_of(list.begin(), list.end(), predicate);
}

Value replaceMethod(Interpreter &i, const std::string &s, const Arguments &a) {
  text(a, 1, "replace");
  Arguments arguments = a;
  arguments.positional[0] = text(a, 0, "replace");
  return applyFilter(i, "replace", s, arguments);
}

Value countMethod(Interpreter &, const std::string &s, const Arguments &a) {
  const std::string &needle = text(a, 0, "count");
  if (needle.empty())
    return static_cast<int64_t>(length(Value(s)) + 1);
  int64_t n = 0;
  for (size_t at = s.find(needle); at != std::string::npos;
       at = s.find(needle, at + needle.size()))
    ++n;
  return n;
}

Value joinMethod(Interpreter &i, const std::string &s, const Arguments &a) {
  if (a.positional.size() != 1)
    throw TemplateError{"join takes one argument"};
  for (const Value &v : iterate(a.positional[0]))
    if (!v.string())
      throw TemplateError{"join: not all items are str"};
  Arguments separator;
  separator.positional.push_back(s);
  return applyFilter(i, "join", a.positional[0], separator);
}

Value removePrefix(Interpreter &, const std::string &s, const Arguments &a) {
  const std::string &p = text(a, 0, "removeprefix");
  return s.starts_with(p) ? s.substr(p.size()) : s;
}

Value removeSuffix(Interpreter &, const std::string &s, const Arguments &a) {
  const std::string &p = text(a, 0, "removesuffix");
  return s.ends_with(p) ? s.substr(0, s.size() - p.size()) : s;
}

Value stripped(const std::string &s, const Arguments &a, bool left,
               bool right) {
  return std::string(strip(s, optionalChars(a, "strip"), left, right));
}

bool isAsciiDigit(std::string_view c) {
  return c.size() == 1 && c[0] >= '0' && c[0] <= '9';
}

const std::map<std::string, MethodFn, std::less<>> &stringMethods() {
  using I = Interpreter;
  using S = std::string;
  using A = Arguments;
  static const std::map<std::string, MethodFn, std::less<>> Table = {
      {"strip",
       [](I &, const S &s, const A &a) { return stripped(s, a, true, true); }},
      {"lstrip",
       [](I &, const S &s, const A &a) { return stripped(s, a, true, false); }},
      {"rstrip",
       [](I &, const S &s, const A &a) { return stripped(s, a, false, true); }},
      {"split",
       [](I &i, const S &s, const A &a) { return split(i, s, a, false); }},
      {"rsplit",
       [](I &i, const S &s, const A &a) { return split(i, s, a, true); }},
      {"splitlines", splitLines},
      {"startswith",
       [](I &, const S &s, const A &a) -> Value { return affix(s, a, true); }},
      {"endswith",
       [](I &, const S &s, const A &a) -> Value { return affix(s, a, false); }},
      {"replace", replaceMethod},
      {"upper", [](I &, const S &s, const A &) -> Value { return upper(s); }},
      {"lower", [](I &, const S &s, const A &) -> Value { return lower(s); }},
      {"title",
       [](I &, const S &s, const A &) -> Value { return title(s, false); }},
      {"capitalize",
       [](I &, const S &s, const A &) -> Value { return capitalize(s); }},
      {"find",
       [](I &, const S &s, const A &a) { return findText(s, a, false); }},
      {"rfind",
       [](I &, const S &s, const A &a) { return findText(s, a, true); }},
      {"count", countMethod},
      {"join", joinMethod},
      {"removeprefix", removePrefix},
      {"removesuffix", removeSuffix},
      {"isdigit",
       [](I &, const S &s, const A &) -> Value {
         return all(s, isAsciiDigit);
       }},
      {"isspace",
       [](I &, const S &s, const A &) -> Value { return all(s, isSpace); }},
      {"isupper",
       [](I &, const S &s, const A &) -> Value {
         return s == upper(s) && s != lower(s);
       }},
      {"islower",
       [](I &, const S &s, const A &) -> Value {
         return s == lower(s) && s != upper(s);
       }},
  };
  return Table;
}

Value dictMethod(const Value &object, const std::string &name) {
  auto entries = object.as<DictValue>()->entries;
  using Kind = enum { Keys, Values, Items };
  auto listOf = [&](Kind kind) {
    return Value::function(
        name, [entries, kind](Interpreter &i, const Arguments &) {
          List out;
          for (const auto &[key, value] : *entries)
            out.push_back(kind == Keys     ? key
                          : kind == Values ? value
                                           : Value::list({key, value}, true));
          i.charge(out.size() * sizeof(Value));
          return Value::list(std::move(out));
        });
  };
  if (name == "keys")
    return listOf(Keys);
  if (name == "values")
    return listOf(Values);
  if (name == "items")
    return listOf(Items);
  if (name == "get")
    return Value::function(
        name, [entries](Interpreter &, const Arguments &a) -> Value {
          if (a.positional.empty())
            throw TemplateError{"get without a key"};
          if (const Value *value = find(*entries, a.positional[0]))
            return *value;
          return a.positional.size() > 1 ? a.positional[1] : Value(nullptr);
        });
  return {};
}

} // namespace

Value qc::rt::chat::findMethod(const Value &object, const std::string &name) {
  if (object.as<DictValue>())
    return dictMethod(object, name);
  auto *string = object.as<std::shared_ptr<const std::string>>();
  if (!string)
    return {};
  auto it = stringMethods().find(name);
  if (it == stringMethods().end())
    return {};
  return Value::function(name, [method = it->second, s = *string](
                                   Interpreter &i, const Arguments &a) {
    i.charge(s->size());
    return method(i, *s, a);
  });
}

void qc::rt::chat::addGlobalFunctions(Interpreter &interpreter) {
  auto add = [&](const char *name, auto function) {
    interpreter.setGlobal(name, Value::function(name, function));
  };
  add("raise_exception", [](Interpreter &, const Arguments &a) -> Value {
    std::string message = a.positional.empty() ? "" : toText(a.positional[0]);
    throw TemplateError{"the template refuses: " + message};
  });
  add("strftime_now", [](Interpreter &i, const Arguments &a) -> Value {
    const std::string &format = text(a, 0, "strftime_now");
    if (format.size() > 256)
      throw TemplateError{"strftime_now: format is too long"};
    std::time_t now = i.now;
    std::tm local{};
    if (!localtime_r(&now, &local))
      throw TemplateError{"strftime_now: no local time"};
    char buffer[2048];
    size_t size = format.empty() ? 0
                                 : std::strftime(buffer, sizeof buffer,
                                                 format.c_str(), &local);
    return std::string(buffer, size);
  });
  auto entriesOf = [](const Arguments &a, const char *name) {
    Entries entries;
    if (a.positional.size() > 1 ||
        (a.positional.size() == 1 && !a.positional[0].entries()))
      throw TemplateError{std::string(name) +
                          " takes a dict and named arguments"};
    if (!a.positional.empty())
      entries = *a.positional[0].entries();
    for (const auto &[key, value] : a.named) {
      auto old = std::find_if(entries.begin(), entries.end(), [&](auto &e) {
        return equal(e.first, Value(key));
      });
      if (old != entries.end())
        old->second = value;
      else
        entries.emplace_back(Value(key), value);
    }
    return entries;
  };
  add("namespace", [entriesOf](Interpreter &, const Arguments &a) {
    Entries entries = entriesOf(a, "namespace");
    for (const auto &[key, value] : entries) {
      if (!key.string())
        throw TemplateError{"namespace: names must be str"};
      value.depth(/*allowShared=*/false);
    }
    Value v;
    v.data = NamespaceValue{std::make_shared<Entries>(std::move(entries))};
    return v;
  });
  add("dict", [entriesOf](Interpreter &, const Arguments &a) {
    return Value::dict(entriesOf(a, "dict"));
  });
  add("range", [](Interpreter &i, const Arguments &a) -> Value {
    int64_t start = 0, stop = 0, step = 1;
    size_t n = a.positional.size();
    bool ok = n >= 1 && n <= 3 && a.named.empty();
    if (ok && n == 1)
      ok = a.positional[0].integer(stop);
    else if (ok)
      ok = a.positional[0].integer(start) && a.positional[1].integer(stop) &&
           (n < 3 || a.positional[2].integer(step));
    if (!ok || step == 0)
      throw TemplateError{"range takes one to three integers, the step not 0"};
    List out;
    constexpr size_t MaxRange = 100000; // of Jinja's sandbox
    for (int64_t k = start; step > 0 ? k < stop : k > stop;) {
      if (out.size() >= MaxRange)
        throw TemplateError{"range has more than 100000 items"};
      out.push_back(k);
      if (__builtin_add_overflow(k, step, &k))
        break;
    }
    i.charge(out.size() * sizeof(Value));
    return Value::list(std::move(out));
  });
}
