//===- Value.h - Values of template expressions -----------------*- C++ -*-===//
//
// Python's values as far as templates meet them, with Python's operators and
// printed forms. Internally errors are TemplateError exceptions; they do not
// leave ChatTemplate::create and render.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_CHAT_VALUE_H
#define QC_LIB_RUNTIME_CHAT_VALUE_H

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace qc::rt::chat {

struct TemplateError {
  std::string message;
};

class Interpreter;
struct Value;

using List = std::vector<Value>;
/// Insertion ordered, as Python's dict. Templates have small ones.
using Entries = std::vector<std::pair<Value, Value>>;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// Argument by position or name; null if not given.
  const Value *get(size_t index, std::string_view name) const;
};

/// Macros, global functions, bound methods.
struct Function {
  std::string name;
  std::function<Value(Interpreter &, const Arguments &)> call;
};

struct Undefined {
  std::string name; ///< what was looked for, for messages
};
struct ListValue {
  std::shared_ptr<const List> items;
  bool isTuple = false;
  int depth = 1; ///< of nested values; bounded, as destructors recurse
};
struct DictValue {
  std::shared_ptr<const Entries> entries;
  int depth = 1;
};
/// The only mutable value: what namespace() returns. Holds no namespace or
/// function, so that there are no cycles.
struct NamespaceValue {
  std::shared_ptr<Entries> entries;
};

struct Value {
  std::variant<Undefined, std::nullptr_t, bool, int64_t, double,
               std::shared_ptr<const std::string>, ListValue, DictValue,
               NamespaceValue, std::shared_ptr<const Function>>
      data;

  Value() : data(Undefined{}) {}
  Value(std::nullptr_t) : data(nullptr) {}
  Value(bool v) : data(v) {}
  Value(int64_t v) : data(v) {}
  Value(double v) : data(v) {}
  Value(std::string v)
      : data(std::make_shared<const std::string>(std::move(v))) {}
  Value(const char *v) : Value(std::string(v)) {}
  static Value undefined(std::string name) {
    Value v;
    v.data = Undefined{std::move(name)};
    return v;
  }
  static Value list(List items, bool isTuple = false);
  static Value dict(Entries entries);
  static Value function(std::string name,
                        std::function<Value(Interpreter &, const Arguments &)>);

  template <typename T>
  const T *as() const {
    return std::get_if<T>(&data);
  }
  bool isUndefined() const { return as<Undefined>(); }
  bool isNone() const { return as<std::nullptr_t>(); }
  bool isBool() const { return as<bool>(); }
  const std::string *string() const {
    auto *s = as<std::shared_ptr<const std::string>>();
    return s ? s->get() : nullptr;
  }
  const List *list() const {
    auto *l = as<ListValue>();
    return l ? l->items.get() : nullptr;
  }
  /// Of a dict or namespace.
  const Entries *entries() const;
  /// Of an int or a bool.
  bool integer(int64_t &out) const;
  /// Of any number.
  bool number(double &out) const;

  bool truthy() const;
  /// 0 for scalars. Throws if the value holds a namespace or a function and
  /// may not.
  int depth(bool allowShared = true) const;
  /// Python's name of the type, for messages.
  const char *typeName() const;
};

/// Entry of a dict or namespace, null if absent.
const Value *find(const Entries &entries, const Value &key);

bool equal(const Value &a, const Value &b);
/// Negative, zero or positive; throws if the types have no order.
int compare(const Value &a, const Value &b);
bool contains(const Value &container, const Value &item);

/// Python's str() and repr().
std::string toText(const Value &v);
std::string toRepr(const Value &v, int depth = 0);
/// json.dumps(v, ensure_ascii=False, indent=indent); indent < 0: one line.
std::string toJson(const Value &v, int indent, int depth = 0);

/// What iteration over the value yields; throws if it is not iterable.
List iterate(const Value &v);

// Strings are UTF-8; Python's are sequences of code points.
std::vector<std::string_view> codePoints(std::string_view s);
size_t length(const Value &v);
std::string upper(std::string_view s);
std::string lower(std::string_view s);
std::string capitalize(std::string_view s);
/// str.title(), or the filter's words-only form.
std::string title(std::string_view s, bool filter);
/// Python's str.strip(): characters of `chars`, or white space if null.
std::string_view strip(std::string_view s, const std::string *chars, bool left,
                       bool right);
bool isSpace(std::string_view codePoint);

} // namespace qc::rt::chat

#endif // QC_LIB_RUNTIME_CHAT_VALUE_H
