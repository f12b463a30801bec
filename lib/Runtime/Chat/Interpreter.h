//===- Interpreter.h - Evaluation of templates ------------------*- C++ -*-===//
#ifndef QC_LIB_RUNTIME_CHAT_INTERPRETER_H
#define QC_LIB_RUNTIME_CHAT_INTERPRETER_H

#include "Ast.h"

#include <ctime>

namespace qc::rt::chat {

class Interpreter {
public:
  // What a template of a real model needs is a thousandth of this.
  static constexpr int64_t MaxSteps = 2'000'000;
  static constexpr int64_t MaxBytes = 64 << 20; ///< made in total
  static constexpr size_t MaxOutput = 16 << 20;
  static constexpr int MaxDepth = 300; ///< of calls and nested expressions

  explicit Interpreter(std::time_t now) : now(now) {}

  void setGlobal(std::string name, Value value);
  std::string run(const Body &body);

  /// Counts memory that an operation is about to make.
  void charge(size_t bytes);
  Value call(const Value &function, const Arguments &arguments);
  /// object.name as Jinja's getattr, object[key] as its getitem.
  Value attribute(const Value &object, const std::string &name);
  Value item(const Value &object, const Value &key);

  const std::time_t now;

private:
  using Variables = std::vector<std::pair<std::string, Value>>;
  struct Scope {
    Variables variables;
    std::shared_ptr<Scope> parent;
  };
  enum class Flow { Normal, Break, Continue };
  struct Nested;

  void step();
  void write(std::string_view text);
  Flow execute(const Body &body);
  Flow execute(const Stmt &stmt);
  Flow executeFor(const Stmt &stmt);
  void executeSet(const Stmt &stmt);
  void assign(const std::vector<std::string> &targets, const Value &value);
  void set(Scope &scope, const std::string &name, Value value);
  Value makeMacro(const Stmt &stmt);
  Value lookUp(const std::string &name) const;

  Value evaluate(const Expr &expr);
  Value evaluateBinary(const Expr &expr);
  Value slice(const Expr &expr);
  Arguments evaluate(const CallArguments &arguments);

  std::string output;
  std::shared_ptr<Scope> scope = std::make_shared<Scope>();
  int64_t steps = 0, bytes = 0;
  int depth = 0;
};

/// Value | name(arguments)
Value applyFilter(Interpreter &interpreter, const std::string &name,
                  const Value &value, const Arguments &arguments);
/// Value is name(arguments)
bool applyTest(const std::string &name, const Value &value,
               const Arguments &arguments);
/// Bound method of a string or dict; undefined if there is no such method.
Value findMethod(const Value &object, const std::string &name);
/// Python's binary operators but and, or.
Value arithmetic(Interpreter &interpreter, const std::string &op,
                 const Value &a, const Value &b);
/// raise_exception, strftime_now, namespace, range, dict.
void addGlobalFunctions(Interpreter &interpreter);

} // namespace qc::rt::chat

#endif // QC_LIB_RUNTIME_CHAT_INTERPRETER_H
