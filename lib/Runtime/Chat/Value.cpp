//===- Value.cpp - Values of template expressions -------------------------===//
#include "Value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utf8proc.h>

using namespace qc::rt::chat;

static constexpr int MaxDepth = 60; ///< of nested values

static int checkedDepth(int childDepth) {
  if (childDepth >= MaxDepth)
    throw TemplateError{"value is nested too deeply"};
  return childDepth + 1;
}

Value Value::list(List items, bool isTuple) {
  int deepest = 0;
  for (const Value &item : items)
    deepest = std::max(deepest, item.depth());
  Value v;
  v.data = ListValue{std::make_shared<const List>(std::move(items)), isTuple,
                     checkedDepth(deepest)};
  return v;
}

Value Value::dict(Entries entries) {
  int deepest = 0;
  for (const auto &[key, value] : entries)
    deepest = std::max({deepest, key.depth(), value.depth()});
  Value v;
  v.data = DictValue{std::make_shared<const Entries>(std::move(entries)),
                     checkedDepth(deepest)};
  return v;
}

int Value::depth(bool allowShared) const {
  bool shared = as<NamespaceValue>() || as<std::shared_ptr<const Function>>();
  if (shared && !allowShared)
    throw TemplateError{std::string("a namespace cannot hold a ") + typeName()};
  if (!allowShared) {
    if (auto *l = list())
      for (const Value &item : *l)
        item.depth(false);
    if (auto *d = as<DictValue>())
      for (const auto &[key, value] : *d->entries) {
        key.depth(false);
        value.depth(false);
      }
  }
  if (auto *l = as<ListValue>())
    return l->depth;
  if (auto *d = as<DictValue>())
    return d->depth;
  return shared ? MaxDepth / 2 : 0;
}

Value Value::function(
    std::string name,
    std::function<Value(Interpreter &, const Arguments &)> call) {
  Value v;
  v.data = std::make_shared<const Function>(
      Function{std::move(name), std::move(call)});
  return v;
}

const Entries *Value::entries() const {
  if (auto *d = as<DictValue>())
    return d->entries.get();
  if (auto *n = as<NamespaceValue>())
    return n->entries.get();
  return nullptr;
}

bool Value::integer(int64_t &out) const {
  if (auto *i = as<int64_t>())
    out = *i;
  else if (auto *b = as<bool>())
    out = *b;
  else
    return false;
  return true;
}

bool Value::number(double &out) const {
  int64_t i = 0;
  if (integer(i))
    out = static_cast<double>(i);
  else if (auto *d = as<double>())
    out = *d;
  else
    return false;
  return true;
}

bool Value::truthy() const {
  double n = 0;
  if (number(n))
    return n != 0;
  if (auto *s = string())
    return !s->empty();
  if (auto *l = list())
    return !l->empty();
  if (auto *d = as<DictValue>())
    return !d->entries->empty();
  return !isUndefined() && !isNone();
}

const char *Value::typeName() const {
  static constexpr const char *Names[] = {
      "undefined", "None", "bool", "int",       "float",
      "str",       "list", "dict", "namespace", "function"};
  return Names[data.index()];
}

const Value *Arguments::get(size_t index, std::string_view name) const {
  if (index < positional.size())
    return &positional[index];
  for (const auto &[key, value] : named)
    if (key == name)
      return &value;
  return nullptr;
}

const Value *qc::rt::chat::find(const Entries &entries, const Value &key) {
  for (const auto &[k, v] : entries)
    if (equal(k, key))
      return &v;
  return nullptr;
}

bool qc::rt::chat::equal(const Value &a, const Value &b) {
  double x = 0, y = 0;
  int64_t i = 0, j = 0;
  if (a.integer(i) && b.integer(j))
    return i == j;
  if (a.number(x) && b.number(y))
    return x == y;
  if (a.string() && b.string())
    return *a.string() == *b.string();
  if (a.list() && b.list())
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(),
                      b.list()->end(), equal);
  if (a.as<DictValue>() && b.as<DictValue>()) {
    if (a.entries()->size() != b.entries()->size())
      return false;
    for (const auto &[k, v] : *a.entries()) {
      const Value *other = find(*b.entries(), k);
      if (!other || !equal(v, *other))
        return false;
    }
    return true;
  }
  return (a.isNone() && b.isNone()) || (a.isUndefined() && b.isUndefined());
}

int qc::rt::chat::compare(const Value &a, const Value &b) {
  double x = 0, y = 0;
  int64_t i = 0, j = 0;
  if (a.integer(i) && b.integer(j))
    return i < j ? -1 : i > j;
  if (a.number(x) && b.number(y))
    return x < y ? -1 : x > y;
  // The order of UTF-8 is that of code points.
  if (a.string() && b.string())
    return a.string()->compare(*b.string());
  if (a.list() && b.list()) {
    const List &l = *a.list(), &r = *b.list();
    for (size_t k = 0; k < l.size() && k < r.size(); ++k)
      if (!equal(l[k], r[k]))
        return compare(l[k], r[k]);
    return l.size() < r.size() ? -1 : l.size() > r.size();
  }
  throw TemplateError{std::string("cannot order ") + a.typeName() + " and " +
                      b.typeName()};
}

bool qc::rt::chat::contains(const Value &container, const Value &item) {
  if (auto *s = container.string()) {
    if (!item.string())
      throw TemplateError{std::string("'in' a str needs a str, not ") +
                          item.typeName()};
    return s->find(*item.string()) != std::string::npos;
  }
  if (auto *l = container.list())
    return std::any_of(l->begin(), l->end(),
                       [&](const Value &v) { return equal(v, item); });
  if (auto *d = container.as<DictValue>())
    return find(*d->entries, item) != nullptr;
  if (container.isUndefined())
    return false;
  throw TemplateError{std::string("'in' cannot search a ") +
                      container.typeName()};
}

/// Shortest digits that read back as the same number, as Python prints them.
static std::string floatText(double v) {
  if (std::isnan(v))
    return "nan";
  if (std::isinf(v))
    return v < 0 ? "-inf" : "inf";
  char buffer[64];
  double size = std::fabs(v);
  bool scientific = v != 0 && (size < 1e-4 || size >= 1e16);
  auto end = std::to_chars(buffer, buffer + sizeof buffer, v,
                           scientific ? std::chars_format::scientific
                                      : std::chars_format::fixed)
                 .ptr;
  std::string text(buffer, end);
  if (!scientific && text.find('.') == std::string::npos)
    text += ".0";
  return text;
}

std::string qc::rt::chat::toText(const Value &v) {
  if (v.isUndefined())
    return "";
  if (auto *s = v.string())
    return *s;
  return toRepr(v);
}

static std::string stringRepr(std::string_view s) {
  bool doubleQuotes = s.find('\'') != std::string_view::npos &&
                      s.find('"') == std::string_view::npos;
  char quote = doubleQuotes ? '"' : '\'';
  std::string out(1, quote);
  for (std::string_view c : codePoints(s)) {
    uint8_t b = static_cast<uint8_t>(c[0]);
    char buffer[8];
    if (c == "\n")
      out += "\\n";
    else if (c == "\r")
      out += "\\r";
    else if (c == "\t")
      out += "\\t";
    else if (c == "\\" || c[0] == quote)
      (out += '\\') += c;
    else if (b < 0x20 || b == 0x7F) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x", b);
      out += buffer;
    } else if (c.size() == 2 && b == 0xC2 &&
               (static_cast<uint8_t>(c[1]) <= 0xA0 || c[1] == '\xAD')) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x",
                    static_cast<uint8_t>(c[1]));
      out += buffer;
    } else
      out += c;
  }
  return out + quote;
}

std::string qc::rt::chat::toRepr(const Value &v, int depth) {
  if (depth > MaxDepth)
    throw TemplateError{"value is nested too deeply"};
  if (auto *s = v.string())
    return stringRepr(*s);
  if (v.isNone())
    return "None";
  if (auto *b = v.as<bool>())
    return *b ? "True" : "False";
  if (auto *i = v.as<int64_t>())
    return std::to_string(*i);
  if (auto *d = v.as<double>())
    return floatText(*d);
  if (auto *l = v.as<ListValue>()) {
    std::string out = l->isTuple ? "(" : "[";
    for (size_t i = 0; i < l->items->size(); ++i)
      out += (i ? ", " : "") + toRepr((*l->items)[i], depth + 1);
    if (l->isTuple && l->items->size() == 1)
      out += ",";
    return out + (l->isTuple ? ")" : "]");
  }
  if (auto *d = v.as<DictValue>()) {
    std::string out = "{";
    for (const auto &[key, value] : *d->entries)
      out += (out.size() > 1 ? ", " : "") + toRepr(key, depth + 1) + ": " +
             toRepr(value, depth + 1);
    return out + "}";
  }
  if (v.isUndefined())
    return "Undefined";
  throw TemplateError{std::string("a ") + v.typeName() + " cannot be printed"};
}

static std::string jsonString(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    default:
      if (static_cast<uint8_t>(c) < 0x20) {
        char buffer[8];
        std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
        out += buffer;
      } else {
        out += c;
      }
    }
  }
  return out + "\"";
}

std::string qc::rt::chat::toJson(const Value &v, int indent, int depth) {
  if (depth > MaxDepth)
    throw TemplateError{"tojson: value is nested too deeply"};
  if (auto *s = v.string())
    return jsonString(*s);
  if (v.isNone())
    return "null";
  if (auto *b = v.as<bool>())
    return *b ? "true" : "false";
  if (auto *d = v.as<double>()) {
    if (std::isnan(*d))
      return "NaN";
    if (std::isinf(*d))
      return *d < 0 ? "-Infinity" : "Infinity";
  }
  if (v.as<int64_t>() || v.as<double>())
    return toRepr(v);
  std::string open =
      "\n" +
      std::string(static_cast<size_t>(std::max(indent, 0) * (depth + 1)), ' ');
  std::string close =
      "\n" + std::string(static_cast<size_t>(std::max(indent, 0) * depth), ' ');
  std::string comma = indent < 0 ? ", " : "," + open;
  if (auto *l = v.list()) {
    if (l->empty())
      return "[]";
    std::string out = indent < 0 ? "[" : "[" + open;
    for (size_t i = 0; i < l->size(); ++i)
      out += (i ? comma : "") + toJson((*l)[i], indent, depth + 1);
    return out + (indent < 0 ? "]" : close + "]");
  }
  if (auto *d = v.as<DictValue>()) {
    if (d->entries->empty())
      return "{}";
    std::string out = indent < 0 ? "{" : "{" + open;
    bool first = true;
    for (const auto &[key, value] : *d->entries) {
      if (!first)
        out += comma;
      first = false;
      out += key.string() ? jsonString(*key.string())
                          : jsonString(toJson(key, -1, depth + 1));
      out += ": " + toJson(value, indent, depth + 1);
    }
    return out + (indent < 0 ? "}" : close + "}");
  }
  throw TemplateError{std::string("tojson: a ") + v.typeName() +
                      " is not serializable"};
}

List qc::rt::chat::iterate(const Value &v) {
  List out;
  if (auto *l = v.list())
    return *l;
  if (auto *d = v.as<DictValue>()) {
    for (const auto &[key, value] : *d->entries)
      out.push_back(key);
    return out;
  }
  if (auto *s = v.string()) {
    for (std::string_view c : codePoints(*s))
      out.push_back(std::string(c));
    return out;
  }
  if (v.isUndefined())
    return out;
  throw TemplateError{std::string("a ") + v.typeName() + " is not iterable"};
}

std::vector<std::string_view> qc::rt::chat::codePoints(std::string_view s) {
  std::vector<std::string_view> out;
  out.reserve(s.size());
  for (size_t pos = 0; pos < s.size();) {
    // Ill-formed bytes count as one character each.
    size_t size = 1;
    uint8_t b = static_cast<uint8_t>(s[pos]);
    if (b >= 0xC0) {
      size_t want = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
      while (size < want && pos + size < s.size() &&
             (static_cast<uint8_t>(s[pos + size]) & 0xC0) == 0x80)
        ++size;
    }
    out.push_back(s.substr(pos, size));
    pos += size;
  }
  return out;
}

size_t qc::rt::chat::length(const Value &v) {
  if (auto *s = v.string())
    return static_cast<size_t>(std::count_if(s->begin(), s->end(), [](char c) {
      return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    }));
  if (auto *l = v.list())
    return l->size();
  if (auto *d = v.as<DictValue>())
    return d->entries->size();
  if (v.isUndefined())
    return 0;
  throw TemplateError{std::string("a ") + v.typeName() + " has no length"};
}

static int32_t codePoint(std::string_view c) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t *>(c.data()),
                   static_cast<utf8proc_ssize_t>(c.size()), &code);
  return code;
}

static void appendCode(std::string &out, int32_t code) {
  utf8proc_uint8_t buffer[4];
  utf8proc_ssize_t size = utf8proc_encode_char(code, buffer);
  out.append(reinterpret_cast<char *>(buffer), static_cast<size_t>(size));
}

enum class Case { Upper, Lower, Title };

static void appendCase(std::string &out, std::string_view c, Case mode) {
  int32_t code = codePoint(c);
  if (code < 0)
    out += c;
  else if (code == 0xDF && mode != Case::Lower) // the common special casing
    out += mode == Case::Upper ? "SS" : "Ss";
  else if (code == 0x130 && mode == Case::Lower)
    out += "i\xCC\x87";
  else
    appendCode(out, mode == Case::Upper   ? utf8proc_toupper(code)
                    : mode == Case::Lower ? utf8proc_tolower(code)
                                          : utf8proc_totitle(code));
}

static bool isLetter(std::string_view c) {
  int32_t code = codePoint(c);
  if (code < 0)
    return false;
  utf8proc_category_t category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT;
}

std::string qc::rt::chat::upper(std::string_view s) {
  std::string out;
  for (std::string_view c : codePoints(s))
    appendCase(out, c, Case::Upper);
  return out;
}

std::string qc::rt::chat::lower(std::string_view s) {
  std::string out;
  for (std::string_view c : codePoints(s))
    appendCase(out, c, Case::Lower);
  return out;
}

std::string qc::rt::chat::capitalize(std::string_view s) {
  std::string out;
  bool first = true;
  for (std::string_view c : codePoints(s)) {
    appendCase(out, c, first ? Case::Title : Case::Lower);
    first = false;
  }
  return out;
}

std::string qc::rt::chat::title(std::string_view s, bool filter) {
  std::string out;
  bool start = true;
  for (std::string_view c : codePoints(s)) {
    appendCase(out, c,
               !start   ? Case::Lower
               : filter ? Case::Upper
                        : Case::Title);
    // Jinja's filter starts words after -, white space and brackets only.
    start = filter ? isSpace(c) || std::string_view("-({[<").find(c) !=
                                       std::string_view::npos
                   : !isLetter(c);
  }
  return out;
}

bool qc::rt::chat::isSpace(std::string_view c) {
  if (c.size() == 1)
    return (c[0] >= 9 && c[0] <= 13) || c[0] == ' ' ||
           (c[0] >= 0x1C && c[0] <= 0x1F);
  int32_t code = codePoint(c);
  return code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view qc::rt::chat::strip(std::string_view s,
                                     const std::string *chars, bool left,
                                     bool right) {
  std::vector<std::string_view> list = codePoints(s);
  std::vector<std::string_view> set =
      chars ? codePoints(*chars) : std::vector<std::string_view>();
  auto drop = [&](std::string_view c) {
    return chars ? std::find(set.begin(), set.end(), c) != set.end()
                 : isSpace(c);
  };
  size_t begin = 0, end = list.size();
  while (left && begin < end && drop(list[begin]))
    ++begin;
  while (right && end > begin && drop(list[end - 1]))
    --end;
  if (begin == end)
    return {};
  const char *first = list[begin].data();
  const char *last = list[end - 1].data() + list[end - 1].size();
  return {first, static_cast<size_t>(last - first)};
}
