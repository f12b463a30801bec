//===- Interpreter.cpp - Evaluation of templates --------------------------===//
//
// Source: pallets/jinja compiler.py, runtime.py
//
//===----------------------------------------------------------------------===//
#include "Interpreter.h"

#include <algorithm>

using namespace qc::rt::chat;

struct Interpreter::Nested {
  int &depth;
  explicit Nested(Interpreter &i) : depth(i.depth) {
    if (++depth > MaxDepth) {
      --depth;
      throw TemplateError{"calls and expressions are nested too deeply"};
    }
  }
  ~Nested() { --depth; }
};

void Interpreter::step() {
  if (++steps > MaxSteps)
    throw TemplateError{"template takes more than " + std::to_string(MaxSteps) +
                        " steps"};
}

void Interpreter::charge(size_t n) {
  if (n > static_cast<size_t>(MaxBytes - bytes))
    throw TemplateError{"template makes more than 64 MiB of values"};
  bytes += static_cast<int64_t>(n);
}

void Interpreter::write(std::string_view text) {
  if (text.size() > MaxOutput - output.size())
    throw TemplateError{"template writes more than 16 MiB"};
  output += text;
}

void Interpreter::setGlobal(std::string name, Value value) {
  set(*scope, name, std::move(value));
}

std::string Interpreter::run(const Body &body) {
  // {% set %} of the template must not hide globals from macros' view.
  auto top = std::make_shared<Scope>();
  top->parent = scope;
  scope = top;
  execute(body);
  return std::move(output);
}

void Interpreter::set(Scope &target, const std::string &name, Value value) {
  for (auto &[key, old] : target.variables)
    if (key == name) {
      old = std::move(value);
      return;
    }
  charge(sizeof(Value) + name.size());
  target.variables.emplace_back(name, std::move(value));
}

Value Interpreter::lookUp(const std::string &name) const {
  for (const Scope *s = scope.get(); s; s = s->parent.get())
    for (const auto &[key, value] : s->variables)
      if (key == name)
        return value;
  return Value::undefined(name);
}

Interpreter::Flow Interpreter::execute(const Body &body) {
  for (const auto &stmt : body) {
    Flow flow = execute(*stmt);
    if (flow != Flow::Normal)
      return flow;
  }
  return Flow::Normal;
}

/// Adds the line of the innermost statement that failed.
static void addLine(TemplateError &error, int line) {
  if (!error.message.starts_with("line "))
    error.message = "line " + std::to_string(line) + ": " + error.message;
}

Interpreter::Flow Interpreter::execute(const Stmt &stmt) {
  step();
  Nested nested(*this);
  try {
    switch (stmt.kind) {
    case Stmt::Text:
      write(stmt.text);
      return Flow::Normal;
    case Stmt::Output:
      write(toText(evaluate(*stmt.expr)));
      return Flow::Normal;
    case Stmt::If:
      for (size_t i = 0; i < stmt.conditions.size(); ++i)
        if (evaluate(*stmt.conditions[i]).truthy())
          return execute(stmt.bodies[i]);
      return stmt.bodies.size() > stmt.conditions.size()
                 ? execute(stmt.bodies.back())
                 : Flow::Normal;
    case Stmt::For:
      return executeFor(stmt);
    case Stmt::Set:
      executeSet(stmt);
      return Flow::Normal;
    case Stmt::Macro:
      set(*scope, stmt.text, makeMacro(stmt));
      return Flow::Normal;
    case Stmt::Group:
      return execute(stmt.bodies[0]);
    case Stmt::Break:
      return Flow::Break;
    case Stmt::Continue:
      return Flow::Continue;
    }
  } catch (TemplateError &error) {
    addLine(error, stmt.line);
    throw;
  }
  return Flow::Normal;
}

void Interpreter::assign(const std::vector<std::string> &targets,
                         const Value &value) {
  if (targets.size() == 1)
    return set(*scope, targets[0], value);
  List items = iterate(value);
  if (items.size() != targets.size())
    throw TemplateError{"cannot unpack " + std::to_string(items.size()) +
                        " values into " + std::to_string(targets.size()) +
                        " names"};
  for (size_t i = 0; i < targets.size(); ++i)
    set(*scope, targets[i], items[i]);
}

Interpreter::Flow Interpreter::executeFor(const Stmt &stmt) {
  List items = iterate(evaluate(*stmt.expr));
  charge(items.size() * sizeof(Value));
  auto outer = scope;
  struct Restore {
    std::shared_ptr<Scope> &scope, outer;
    ~Restore() { scope = outer; }
  } restore{scope, outer};
  auto enter = [&](const Value &value) {
    scope = std::make_shared<Scope>();
    scope->parent = outer;
    assign(stmt.targets, value);
  };
  if (stmt.filter) {
    List kept;
    for (const Value &value : items) {
      step();
      enter(value);
      if (evaluate(*stmt.filter).truthy())
        kept.push_back(value);
    }
    items = std::move(kept);
  }
  int64_t size = static_cast<int64_t>(items.size());
  for (int64_t i = 0; i < size; ++i) {
    step();
    enter(items[static_cast<size_t>(i)]);
    auto item = [&](int64_t at, const char *name) {
      return at >= 0 && at < size ? items[static_cast<size_t>(at)]
                                  : Value::undefined(name);
    };
    Entries loop = {{"index", i + 1},
                    {"index0", i},
                    {"first", i == 0},
                    {"last", i + 1 == size},
                    {"length", size},
                    {"revindex", size - i},
                    {"revindex0", size - i - 1},
                    {"previtem", item(i - 1, "previtem")},
                    {"nextitem", item(i + 1, "nextitem")}};
    loop.emplace_back(
        "cycle",
        Value::function("cycle", [i](Interpreter &, const Arguments &a) {
          if (a.positional.empty())
            throw TemplateError{"loop.cycle without items"};
          return a.positional[static_cast<size_t>(i) % a.positional.size()];
        }));
    Value variable;
    variable.data = NamespaceValue{std::make_shared<Entries>(std::move(loop))};
    set(*scope, "loop", variable);
    if (execute(stmt.bodies[0]) == Flow::Break)
      break;
  }
  scope = outer;
  if (size == 0 && stmt.bodies.size() > 1)
    return execute(stmt.bodies[1]);
  return Flow::Normal;
}

void Interpreter::executeSet(const Stmt &stmt) {
  Value value;
  if (stmt.expr) {
    value = evaluate(*stmt.expr);
  } else {
    std::string saved = std::move(output);
    output.clear();
    auto outer = scope;
    scope = std::make_shared<Scope>();
    scope->parent = outer;
    execute(stmt.bodies[0]);
    scope = outer;
    charge(output.size());
    value = Value(std::move(output));
    output = std::move(saved);
  }
  if (stmt.attribute.empty())
    return assign(stmt.targets, value);
  Value target = lookUp(stmt.targets[0]);
  auto *names = target.as<NamespaceValue>();
  if (!names)
    throw TemplateError{"cannot assign attribute of '" + stmt.targets[0] +
                        "', which is not a namespace"};
  value.depth(/*allowShared=*/false);
  for (auto &[key, old] : *names->entries)
    if (*key.string() == stmt.attribute) {
      old = value;
      return;
    }
  charge(2 * sizeof(Value) + stmt.attribute.size());
  names->entries->emplace_back(stmt.attribute, value);
}

Value Interpreter::makeMacro(const Stmt &stmt) {
  // The statement lives as long as the template. Weak: the macro is stored in
  // the scope that it sees.
  std::weak_ptr<Scope> defined = scope;
  return Value::function(stmt.text, [&stmt, defined](Interpreter &self,
                                                     const Arguments &given) {
    std::shared_ptr<Scope> parent = defined.lock();
    if (!parent)
      throw TemplateError{"macro '" + stmt.text + "' outlived its scope"};
    if (given.positional.size() > stmt.targets.size())
      throw TemplateError{"macro '" + stmt.text + "' takes " +
                          std::to_string(stmt.targets.size()) + " arguments"};
    for (const auto &[name, value] : given.named)
      if (std::find(stmt.targets.begin(), stmt.targets.end(), name) ==
          stmt.targets.end())
        throw TemplateError{"macro '" + stmt.text + "' has no parameter '" +
                            name + "'"};
    std::string saved = std::move(self.output);
    self.output.clear();
    auto caller = self.scope;
    self.scope = std::make_shared<Scope>();
    self.scope->parent = parent;
    struct Restore {
      Interpreter &self;
      std::shared_ptr<Scope> caller;
      ~Restore() { self.scope = caller; }
    } restore{self, caller};
    size_t required = stmt.targets.size() - stmt.conditions.size();
    for (size_t i = 0; i < stmt.targets.size(); ++i) {
      const Value *value = given.get(i, stmt.targets[i]);
      if (value)
        self.set(*self.scope, stmt.targets[i], *value);
      else if (i >= required)
        self.set(*self.scope, stmt.targets[i],
                 self.evaluate(*stmt.conditions[i - required]));
      else
        self.set(*self.scope, stmt.targets[i],
                 Value::undefined(stmt.targets[i]));
    }
    self.execute(stmt.bodies[0]);
    self.charge(self.output.size());
    Value result(std::move(self.output));
    self.output = std::move(saved);
    return result;
  });
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Arguments Interpreter::evaluate(const CallArguments &arguments) {
  Arguments out;
  for (const ExprPtr &expr : arguments.positional)
    out.positional.push_back(evaluate(*expr));
  for (const auto &[name, expr] : arguments.named)
    out.named.emplace_back(name, evaluate(*expr));
  return out;
}

[[noreturn]] static void failUndefined(const Value &v) {
  throw TemplateError{"'" + v.as<Undefined>()->name + "' is undefined"};
}

Value Interpreter::call(const Value &function, const Arguments &arguments) {
  step();
  Nested nested(*this);
  if (function.isUndefined())
    failUndefined(function);
  auto *f = function.as<std::shared_ptr<const Function>>();
  if (!f)
    throw TemplateError{std::string("a ") + function.typeName() +
                        " cannot be called"};
  return (*f)->call(*this, arguments);
}

Value Interpreter::attribute(const Value &object, const std::string &name) {
  if (object.isUndefined())
    failUndefined(object);
  Value method = findMethod(object, name);
  if (!method.isUndefined())
    return method;
  if (const Entries *entries = object.entries())
    if (const Value *value = find(*entries, Value(name)))
      return *value;
  return Value::undefined(name);
}

Value Interpreter::item(const Value &object, const Value &key) {
  if (object.isUndefined())
    failUndefined(object);
  if (const Entries *entries = object.entries()) {
    if (const Value *value = find(*entries, key))
      return *value;
    return key.string() ? attribute(object, *key.string())
                        : Value::undefined(toText(key));
  }
  int64_t index = 0;
  if (key.integer(index) && (object.list() || object.string())) {
    int64_t size = static_cast<int64_t>(length(object));
    if (index < 0)
      index += size;
    if (index < 0 || index >= size)
      return Value::undefined("item " + toText(key));
    if (object.list())
      return (*object.list())[static_cast<size_t>(index)];
    charge(object.string()->size() * sizeof(std::string_view));
    return std::string(
        codePoints(*object.string())[static_cast<size_t>(index)]);
  }
  if (key.string())
    return attribute(object, *key.string());
  return Value::undefined(toText(key));
}

Value Interpreter::slice(const Expr &expr) {
  Value object = evaluate(*expr.children[0]);
  int64_t parts[3] = {0, 0, 1};
  bool given[3] = {};
  for (size_t i = 0; i < 3; ++i) {
    if (!expr.children[i + 1])
      continue;
    Value part = evaluate(*expr.children[i + 1]);
    if (part.isNone())
      continue;
    if (!part.integer(parts[i]))
      throw TemplateError{"slice bounds must be integers"};
    given[i] = true;
  }
  if (object.isUndefined())
    failUndefined(object);
  if (!object.list() && !object.string())
    throw TemplateError{std::string("a ") + object.typeName() +
                        " cannot be sliced"};
  int64_t step = parts[2];
  if (step == 0)
    throw TemplateError{"slice step is zero"};
  List items;
  std::vector<std::string_view> characters;
  if (object.string()) {
    charge(object.string()->size() * sizeof(std::string_view));
    characters = codePoints(*object.string());
  }
  int64_t size = static_cast<int64_t>(object.string() ? characters.size()
                                                      : object.list()->size());
  // As Python's slice.indices().
  auto bound = [&](int64_t v) {
    if (v < 0)
      v = v < -size ? -1 : v + size;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
    return std::clamp(v, low, std::max(low, high));
  };
  int64_t start = given[0] ? bound(parts[0]) : step < 0 ? size - 1 : 0;
  int64_t stop = given[1] ? bound(parts[1]) : step < 0 ? -1 : size;
  step = std::clamp<int64_t>(step, -size - 1, size + 1);
  std::string text;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    if (i < 0 || i >= size)
      break;
    if (object.string())
      text += characters[static_cast<size_t>(i)];
    else
      items.push_back((*object.list())[static_cast<size_t>(i)]);
  }
  charge(text.size() + items.size() * sizeof(Value));
  if (object.string())
    return text;
  return Value::list(std::move(items), object.as<ListValue>()->isTuple);
}

Value Interpreter::evaluateBinary(const Expr &expr) {
  Value left = evaluate(*expr.children[0]);
  if (expr.text == "and")
    return left.truthy() ? evaluate(*expr.children[1]) : left;
  if (expr.text == "or")
    return left.truthy() ? left : evaluate(*expr.children[1]);
  Value right = evaluate(*expr.children[1]);
  if (expr.text != "~") {
    if (left.isUndefined())
      failUndefined(left);
    if (right.isUndefined())
      failUndefined(right);
  }
  return arithmetic(*this, expr.text, left, right);
}

static bool compareWith(const std::string &op, const Value &a, const Value &b) {
  if (op == "==")
    return equal(a, b);
  if (op == "!=")
    return !equal(a, b);
  if (op == "in")
    return contains(b, a);
  if (op == "not in")
    return !contains(b, a);
  if (a.isUndefined())
    failUndefined(a);
  if (b.isUndefined())
    failUndefined(b);
  int order = compare(a, b);
  return op == "<"    ? order < 0
         : op == "<=" ? order <= 0
         : op == ">"  ? order > 0
                      : order >= 0;
}

Value Interpreter::evaluate(const Expr &expr) {
  step();
  Nested nested(*this);
  switch (expr.kind) {
  case Expr::Constant:
    return expr.value;
  case Expr::Name:
    return lookUp(expr.text);
  case Expr::ListLiteral:
  case Expr::Tuple: {
    List items;
    for (const ExprPtr &child : expr.children)
      items.push_back(evaluate(*child));
    charge(items.size() * sizeof(Value));
    return Value::list(std::move(items), expr.kind == Expr::Tuple);
  }
  case Expr::Dict: {
    Entries entries;
    for (size_t i = 0; i < expr.children.size(); i += 2) {
      Value key = evaluate(*expr.children[i]);
      Value value = evaluate(*expr.children[i + 1]);
      auto old = std::find_if(entries.begin(), entries.end(),
                              [&](auto &e) { return equal(e.first, key); });
      if (old != entries.end())
        old->second = value;
      else
        entries.emplace_back(key, value);
    }
    charge(entries.size() * 2 * sizeof(Value));
    return Value::dict(std::move(entries));
  }
  case Expr::Attribute:
    return attribute(evaluate(*expr.children[0]), expr.text);
  case Expr::Item: {
    Value object = evaluate(*expr.children[0]);
    return item(object, evaluate(*expr.children[1]));
  }
  case Expr::Slice:
    return slice(expr);
  case Expr::Call: {
    Value function = evaluate(*expr.children[0]);
    return call(function, evaluate(expr.arguments));
  }
  case Expr::Filter: {
    Value value = evaluate(*expr.children[0]);
    return applyFilter(*this, expr.text, value, evaluate(expr.arguments));
  }
  case Expr::Test: {
    Value value = evaluate(*expr.children[0]);
    return applyTest(expr.text, value, evaluate(expr.arguments));
  }
  case Expr::Unary: {
    Value value = evaluate(*expr.children[0]);
    if (expr.text == "not")
      return !value.truthy();
    int64_t i = 0;
    if (value.isUndefined())
      failUndefined(value);
    if (value.integer(i))
      return expr.text == "-" ? arithmetic(*this, "-", int64_t(0), value)
                              : Value(i);
    if (auto *d = value.as<double>())
      return expr.text == "-" ? -*d : *d;
    throw TemplateError{"unary " + expr.text + " of a " + value.typeName()};
  }
  case Expr::Binary:
    return evaluateBinary(expr);
  case Expr::Compare: {
    Value left = evaluate(*expr.children[0]);
    for (size_t i = 0; i < expr.operators.size(); ++i) {
      Value right = evaluate(*expr.children[i + 1]);
      if (!compareWith(expr.operators[i], left, right))
        return false;
      left = right;
    }
    return true;
  }
  case Expr::Condition:
    if (evaluate(*expr.children[1]).truthy())
      return evaluate(*expr.children[0]);
    return expr.children[2] ? evaluate(*expr.children[2])
                            : Value::undefined("the value of an 'if' without "
                                               "'else'");
  }
  return {};
}
