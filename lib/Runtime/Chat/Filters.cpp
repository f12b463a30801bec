//===- Filters.cpp - Filters and tests of templates -----------------------===//
//
// Source: pallets/jinja filters.py, tests.py; tojson as transformers defines it
//
//===----------------------------------------------------------------------===//
#include "Interpreter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

using namespace qc::rt::chat;

namespace {

using FilterFn = Value (*)(Interpreter &, const Value &, const Arguments &);

const std::string &needString(const Value &v, const char *what) {
  if (!v.string())
    throw TemplateError{std::string(what) + ": not a str but a " +
                        v.typeName()};
  return *v.string();
}

int64_t needInteger(const Value *v, int64_t defaultValue, const char *what) {
  int64_t out = defaultValue;
  if (v && !v->integer(out))
    throw TemplateError{std::string(what) + " is not an integer"};
  return out;
}

/// Filters that treat everything as text, as Jinja's soft_str.
std::string textOf(Interpreter &i, const Value &v) {
  std::string text = toText(v);
  i.charge(text.size());
  return text;
}

Value makeList(Interpreter &i, List items) {
  i.charge(items.size() * sizeof(Value));
  return Value::list(std::move(items));
}

/// "a.b.0" as map(attribute=...) reads it.
Value dotted(Interpreter &i, Value v, const Value &path) {
  if (!path.string())
    return i.item(v, path);
  const std::string &text = *path.string();
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find('.', begin), text.size());
    std::string part = text.substr(begin, end - begin);
    int64_t index = 0;
    auto result =
        std::from_chars(part.data(), part.data() + part.size(), index);
    bool number = !part.empty() && result.ec == std::errc() &&
                  result.ptr == part.data() + part.size();
    v = i.item(v, number ? Value(index) : Value(part));
    begin = end + 1;
  }
  return v;
}

Value tojson(Interpreter &i, const Value &v, const Arguments &a) {
  // transformers: tojson(x, ensure_ascii, indent, separators, sort_keys)
  int64_t indent = -1;
  for (const auto &[name, value] : a.named) {
    if (name == "indent" && !value.isNone())
      indent =
          std::clamp<int64_t>(needInteger(&value, -1, "tojson: indent"), 0, 64);
    else if (name == "ensure_ascii" ? value.truthy()
             : name == "sort_keys"  ? value.truthy()
                                    : name != "indent" && !value.isNone())
      throw TemplateError{"tojson: argument '" + name + "' is not supported"};
  }
  if (!a.positional.empty())
    throw TemplateError{"tojson: positional arguments are not supported"};
  std::string text = toJson(v, static_cast<int>(indent));
  i.charge(text.size());
  return text;
}

Value join(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *separator = a.get(0, "d"), *attribute = a.get(1, "attribute");
  std::string between = separator ? toText(*separator) : "", out;
  bool first = true;
  for (const Value &item : iterate(v)) {
    std::string text = toText(attribute ? dotted(i, item, *attribute) : item);
    i.charge(text.size() + between.size());
    if (!first)
      out += between;
    out += text;
    first = false;
  }
  return out;
}

std::string replaceText(Interpreter &i, const std::string &s,
                        const std::string &from, const std::string &to,
                        int64_t count) {
  std::string out;
  if (from.empty()) { // Python: before every character and at the end
    for (std::string_view c : codePoints(s)) {
      if (count != 0) {
        i.charge(to.size());
        out += to;
        --count;
      }
      out += c;
    }
    return count != 0 ? out + to : out;
  }
  size_t previous = 0;
  for (size_t at = s.find(from); at != std::string::npos && count != 0;
       at = s.find(from, previous), --count) {
    i.charge(to.size() + at - previous);
    out.append(s, previous, at - previous);
    out += to;
    previous = at + from.size();
  }
  return out.append(s, previous, std::string::npos);
}

/// select, reject, selectattr, rejectattr.
Value selectItems(Interpreter &i, const Value &v, const Arguments &a,
                  bool attribute, bool keep) {
  size_t skip = attribute ? 1 : 0;
  if (attribute && a.positional.empty())
    throw TemplateError{"selectattr without an attribute"};
  Arguments rest;
  std::string test;
  if (a.positional.size() > skip) {
    test = needString(a.positional[skip], "name of a test");
    rest.positional.assign(a.positional.begin() + static_cast<ptrdiff_t>(skip) +
                               1,
                           a.positional.end());
  }
  List out;
  for (const Value &item : iterate(v)) {
    Value subject = attribute ? dotted(i, item, a.positional[0]) : item;
    bool holds =
        test.empty() ? subject.truthy() : applyTest(test, subject, rest);
    if (holds == keep)
      out.push_back(item);
  }
  return makeList(i, std::move(out));
}

Value mapItems(Interpreter &i, const Value &v, const Arguments &a) {
  List out;
  const Value *attribute = nullptr, *otherwise = nullptr;
  for (const auto &[name, value] : a.named) {
    if (name == "attribute")
      attribute = &value;
    else if (name == "default")
      otherwise = &value;
    else
      throw TemplateError{"map: argument '" + name + "' is not supported"};
  }
  Arguments rest;
  if (!attribute) {
    if (a.positional.empty())
      throw TemplateError{"map without a filter or an attribute"};
    rest.positional.assign(a.positional.begin() + 1, a.positional.end());
  }
  for (const Value &item : iterate(v)) {
    Value result =
        attribute
            ? dotted(i, item, *attribute)
            : applyFilter(i, needString(a.positional[0], "name of a filter"),
                          item, rest);
    if (result.isUndefined() && otherwise)
      result = *otherwise;
    out.push_back(std::move(result));
  }
  return makeList(i, std::move(out));
}

/// Key for sort, unique, min, max: strings without case unless asked.
Value sortKey(Interpreter &i, const Value &item, const Value *attribute,
              bool caseSensitive) {
  Value key =
      attribute && !attribute->isNone() ? dotted(i, item, *attribute) : item;
  if (!caseSensitive && key.string()) {
    i.charge(key.string()->size());
    return lower(*key.string());
  }
  return key;
}

Value sortItems(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *reverse = a.get(0, "reverse"),
              *sensitive = a.get(1, "case_sensitive");
  const Value *attribute = a.get(2, "attribute");
  bool down = reverse && reverse->truthy();
  // A tree keeps equal keys in order and, unlike std::sort, stays safe with
  // values that have no total order (NaN).
  auto before = [down](const Value &x, const Value &y) {
    return down ? compare(x, y) > 0 : compare(x, y) < 0;
  };
  std::multimap<Value, Value, decltype(before)> sorted(before);
  for (const Value &item : iterate(v))
    sorted.emplace(
        sortKey(i, item, attribute, sensitive && sensitive->truthy()), item);
  List out;
  for (auto &[key, item] : sorted)
    out.push_back(item);
  return makeList(i, std::move(out));
}

Value uniqueItems(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *sensitive = a.get(0, "case_sensitive"),
              *attribute = a.get(1, "attribute");
  List out, seen;
  for (const Value &item : iterate(v)) {
    Value key = sortKey(i, item, attribute, sensitive && sensitive->truthy());
    i.charge(seen.size()); // the search below is quadratic
    if (std::any_of(seen.begin(), seen.end(),
                    [&](const Value &s) { return equal(s, key); }))
      continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return makeList(i, std::move(out));
}

Value extreme(Interpreter &i, const Value &v, const Arguments &a, int sign) {
  const Value *sensitive = a.get(0, "case_sensitive"),
              *attribute = a.get(1, "attribute");
  Value best, bestKey;
  for (const Value &item : iterate(v)) {
    Value key = sortKey(i, item, attribute, sensitive && sensitive->truthy());
    if (bestKey.isUndefined() || compare(key, bestKey) * sign > 0) {
      best = item;
      bestKey = key;
    }
  }
  return best;
}

Value toInteger(Interpreter &, const Value &v, const Arguments &a) {
  int64_t result = 0;
  if (v.integer(result))
    return result;
  if (auto *d = v.as<double>(); d && std::fabs(*d) < 9e18)
    return static_cast<int64_t>(*d);
  if (auto *s = v.string()) {
    std::string_view text = strip(*s, nullptr, true, true);
    text.remove_prefix(text.starts_with('+'));
    auto status =
        std::from_chars(text.data(), text.data() + text.size(), result);
    if (status.ec == std::errc() && status.ptr == text.data() + text.size() &&
        !text.empty())
      return result;
    double real = 0;
    auto realStatus =
        std::from_chars(text.data(), text.data() + text.size(), real);
    if (realStatus.ec == std::errc() &&
        realStatus.ptr == text.data() + text.size() && !text.empty() &&
        std::fabs(real) < 9e18)
      return static_cast<int64_t>(real);
  }
  const Value *otherwise = a.get(0, "default");
  return otherwise ? *otherwise : Value(int64_t(0));
}

Value toFloat(Interpreter &, const Value &v, const Arguments &a) {
  double result = 0;
  if (v.number(result))
    return result;
  if (auto *s = v.string()) {
    std::string_view text = strip(*s, nullptr, true, true);
    text.remove_prefix(text.starts_with('+'));
    auto status =
        std::from_chars(text.data(), text.data() + text.size(), result);
    if (status.ec == std::errc() && status.ptr == text.data() + text.size() &&
        !text.empty())
      return result;
  }
  const Value *otherwise = a.get(0, "default");
  return otherwise ? *otherwise : Value(0.0);
}

Value roundNumber(Interpreter &, const Value &v, const Arguments &a) {
  double number = 0;
  if (!v.number(number))
    throw TemplateError{"round: not a number"};
  int64_t precision = needInteger(a.get(0, "precision"), 0, "round: precision");
  const Value *method = a.get(1, "method");
  std::string how = method ? needString(*method, "round: method") : "common";
  double scale = std::pow(
      10.0, static_cast<double>(std::clamp<int64_t>(precision, -18, 18)));
  double scaled = number * scale;
  double result = how == "ceil"    ? std::ceil(scaled)
                  : how == "floor" ? std::floor(scaled)
                                   : std::nearbyint(scaled);
  return result / scale;
}

Value indentText(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *width = a.get(0, "width"), *first = a.get(1, "first"),
              *blank = a.get(2, "blank");
  std::string prefix =
      width && width->string()
          ? *width->string()
          : std::string(static_cast<size_t>(std::clamp<int64_t>(
                            needInteger(width, 4, "indent: width"), 0, 1000)),
                        ' ');
  std::string text = textOf(i, v), out;
  size_t line = 0;
  for (size_t begin = 0; begin <= text.size(); ++line) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view part = std::string_view(text).substr(begin, end - begin);
    i.charge(part.size() + prefix.size());
    if (line)
      out += '\n';
    bool indented = line ? !part.empty() || (blank && blank->truthy())
                         : first && first->truthy();
    if (indented)
      out += prefix;
    out += part;
    begin = end + 1;
  }
  return out;
}

Value dictItems(Interpreter &i, const Value &v, const Arguments &) {
  if (v.isUndefined())
    return Value::list({});
  if (!v.as<DictValue>())
    throw TemplateError{std::string("items: not a dict but a ") + v.typeName()};
  List out;
  for (const auto &[key, value] : *v.entries())
    out.push_back(Value::list({key, value}, true));
  return makeList(i, std::move(out));
}

Value dictSort(Interpreter &i, const Value &v, const Arguments &a) {
  if (!a.positional.empty() || !a.named.empty())
    throw TemplateError{"dictsort: arguments are not supported"};
  Value items = dictItems(i, v, {});
  Arguments byKey;
  byKey.named.emplace_back("attribute", Value(int64_t(0)));
  return sortItems(i, items, byKey);
}

Value escapeHtml(Interpreter &i, const Value &v, const Arguments &) {
  std::string out;
  std::string text = textOf(i, v);
  for (char c : text) {
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&#34;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  }
  i.charge(out.size());
  return out;
}

Value sumItems(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *attribute = a.get(0, "attribute"), *start = a.get(1, "start");
  Value total = start ? *start : Value(int64_t(0));
  for (const Value &item : iterate(v))
    total = arithmetic(
        i, "+", total,
        attribute && !attribute->isNone() ? dotted(i, item, *attribute) : item);
  return total;
}

Value absolute(Interpreter &i, const Value &v, const Arguments &) {
  int64_t n = 0;
  if (v.integer(n))
    return n < 0 ? arithmetic(i, "-", int64_t(0), n) : Value(n);
  if (auto *d = v.as<double>())
    return std::fabs(*d);
  throw TemplateError{"abs: not a number"};
}

Value withDefault(Interpreter &, const Value &v, const Arguments &a) {
  const Value *otherwise = a.get(0, "default_value");
  const Value *falsy = a.get(1, "boolean");
  if (v.isUndefined() || (falsy && falsy->truthy() && !v.truthy()))
    return otherwise ? *otherwise : Value("");
  return v;
}

Value firstItem(Interpreter &, const Value &v, const Arguments &) {
  List items = iterate(v);
  return items.empty() ? Value::undefined("first item of an empty sequence")
                       : items.front();
}

Value lastItem(Interpreter &, const Value &v, const Arguments &) {
  List items = iterate(v);
  return items.empty() ? Value::undefined("last item of an empty sequence")
                       : items.back();
}

Value replaceFilter(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *from = a.get(0, "old"), *to = a.get(1, "new");
  if (!from || !to)
    throw TemplateError{"replace: needs two arguments"};
  return replaceText(i, textOf(i, v), toText(*from), toText(*to),
                     needInteger(a.get(2, "count"), -1, "replace: count"));
}

Value reverseItems(Interpreter &i, const Value &v, const Arguments &) {
  List items = iterate(v);
  std::reverse(items.begin(), items.end());
  if (!v.string())
    return makeList(i, std::move(items));
  std::string out;
  for (const Value &c : items)
    out += *c.string();
  return out;
}

Value trim(Interpreter &i, const Value &v, const Arguments &a) {
  const Value *chars = a.get(0, "chars");
  const std::string *set =
      chars && !chars->isNone() ? &needString(*chars, "trim: chars") : nullptr;
  return std::string(strip(textOf(i, v), set, true, true));
}

Value wordCount(Interpreter &i, const Value &v, const Arguments &) {
  int64_t words = 0;
  bool inWord = false;
  std::string text = textOf(i, v);
  for (std::string_view c : codePoints(text)) {
    words += !inWord && !isSpace(c);
    inWord = !isSpace(c);
  }
  return words;
}

const std::map<std::string, FilterFn, std::less<>> &filters() {
  using I = Interpreter;
  using V = Value;
  using A = Arguments;
  static const std::map<std::string, FilterFn, std::less<>> Table = {
      {"abs", absolute},
      {"capitalize",
       [](I &i, const V &v, const A &) -> V {
         return capitalize(textOf(i, v));
       }},
      {"default", withDefault},
      {"dictsort", dictSort},
      {"escape", escapeHtml},
      {"first", firstItem},
      {"float", toFloat},
      {"indent", indentText},
      {"int", toInteger},
      {"items", dictItems},
      {"join", join},
      {"last", lastItem},
      {"length",
       [](I &, const V &v, const A &) -> V {
         return static_cast<int64_t>(length(v));
       }},
      {"list",
       [](I &i, const V &v, const A &) -> V {
         return makeList(i, iterate(v));
       }},
      {"lower",
       [](I &i, const V &v, const A &) -> V { return lower(textOf(i, v)); }},
      {"map", mapItems},
      {"max",
       [](I &i, const V &v, const A &a) -> V { return extreme(i, v, a, 1); }},
      {"min",
       [](I &i, const V &v, const A &a) -> V { return extreme(i, v, a, -1); }},
      {"reject",
       [](I &i, const V &v, const A &a) -> V {
         return selectItems(i, v, a, false, false);
       }},
      {"rejectattr",
       [](I &i, const V &v, const A &a) -> V {
         return selectItems(i, v, a, true, false);
       }},
      {"replace", replaceFilter},
      {"reverse", reverseItems},
      {"round", roundNumber},
      {"safe", [](I &, const V &v, const A &) -> V { return v; }},
      {"select",
       [](I &i, const V &v, const A &a) -> V {
         return selectItems(i, v, a, false, true);
       }},
      {"selectattr",
       [](I &i, const V &v, const A &a) -> V {
         return selectItems(i, v, a, true, true);
       }},
      {"sort", sortItems},
      {"string", [](I &i, const V &v, const A &) -> V { return textOf(i, v); }},
      {"sum", sumItems},
      {"title",
       [](I &i, const V &v, const A &) -> V {
         return title(textOf(i, v), true);
       }},
      {"tojson", tojson},
      {"trim", trim},
      {"unique", uniqueItems},
      {"upper",
       [](I &i, const V &v, const A &) -> V { return upper(textOf(i, v)); }},
      {"wordcount", wordCount},
  };
  return Table;
}

} // namespace

Value qc::rt::chat::applyFilter(Interpreter &interpreter,
                                const std::string &name, const Value &value,
                                const Arguments &arguments) {
  std::string_view known = name == "count" ? "length"
                           : name == "d"   ? "default"
                           : name == "e"   ? "escape"
                                           : std::string_view(name);
  auto it = filters().find(known);
  if (it == filters().end())
    throw TemplateError{"filter '" + name + "' is not supported"};
  return it->second(interpreter, value, arguments);
}

bool qc::rt::chat::applyTest(const std::string &name, const Value &v,
                             const Arguments &a) {
  auto argument = [&]() -> const Value & {
    if (a.positional.empty())
      throw TemplateError{"test '" + name + "' needs an argument"};
    return a.positional[0];
  };
  int64_t i = 0, j = 0;
  if (name == "defined")
    return !v.isUndefined();
  if (name == "undefined")
    return v.isUndefined();
  if (name == "none")
    return v.isNone();
  if (name == "string")
    return v.string();
  if (name == "mapping")
    return v.as<DictValue>();
  if (name == "iterable" || name == "sequence")
    return v.string() || v.list() || v.as<DictValue>() || v.isUndefined();
  if (name == "boolean")
    return v.isBool();
  if (name == "integer")
    return v.as<int64_t>();
  if (name == "float")
    return v.as<double>();
  if (name == "number")
    return v.isBool() || v.as<int64_t>() || v.as<double>();
  if (name == "true")
    return v.isBool() && v.truthy();
  if (name == "false")
    return v.isBool() && !v.truthy();
  if (name == "callable")
    return v.as<std::shared_ptr<const Function>>();
  if (name == "eq" || name == "equalto" || name == "==")
    return equal(v, argument());
  if (name == "ne" || name == "!=")
    return !equal(v, argument());
  if (name == "lt" || name == "lessthan" || name == "<")
    return compare(v, argument()) < 0;
  if (name == "le" || name == "<=")
    return compare(v, argument()) <= 0;
  if (name == "gt" || name == "greaterthan" || name == ">")
    return compare(v, argument()) > 0;
  if (name == "ge" || name == ">=")
    return compare(v, argument()) >= 0;
  if (name == "in")
    return contains(argument(), v);
  if (name == "sameas") // identity, which exists for the singletons only
    return v.data.index() == argument().data.index() && equal(v, argument());
  if (name == "lower" || name == "upper") {
    std::string text = toText(v),
                other = name == "lower" ? upper(text) : lower(text);
    return text == (name == "lower" ? lower(text) : upper(text)) &&
           text != other;
  }
  if (name == "odd" || name == "even" || name == "divisibleby") {
    if (name == "divisibleby" ? !argument().integer(j) : false)
      throw TemplateError{"divisibleby: not an integer"};
    if (!v.integer(i))
      throw TemplateError{"test '" + name + "': not an integer"};
    if (name == "divisibleby") {
      if (j == 0)
        throw TemplateError{"division by zero"};
      return j == -1 || i % j == 0;
    }
    return (i % 2 != 0) == (name == "odd");
  }
  throw TemplateError{"test '" + name + "' is not supported"};
}
