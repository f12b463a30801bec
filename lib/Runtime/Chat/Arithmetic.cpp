//===- Arithmetic.cpp - Python's binary operators -------------------------===//
#include "Interpreter.h"

#include <cmath>

using namespace qc::rt::chat;

static Value integerArithmetic(const std::string &op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+")
    overflow = __builtin_add_overflow(a, b, &result);
  else if (op == "-")
    overflow = __builtin_sub_overflow(a, b, &result);
  else if (op == "*")
    overflow = __builtin_mul_overflow(a, b, &result);
  else if (op == "//" || op == "%") {
    if (b == 0)
      throw TemplateError{"division by zero"};
    if (a == INT64_MIN && b == -1) {
      overflow = op == "//";
    } else {
      // Python rounds down; the remainder has the divisor's sign.
      int64_t quotient = a / b, remainder = a % b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        --quotient;
        remainder += b;
      }
      result = op == "%" ? remainder : quotient;
    }
  } else { // "**", b >= 0
    result = 1;
    for (int64_t i = 0; i < b && !overflow; ++i) {
      if (result == 0 || result == 1) {
        if (i > 0 && a == result)
          break;
      }
      if (a == -1 && i > 1) {
        result = b % 2 ? -1 : 1;
        break;
      }
      overflow = __builtin_mul_overflow(result, a, &result);
    }
  }
  if (overflow)
    throw TemplateError{"integer overflow"};
  return result;
}

static Value repeat(Interpreter &interpreter, const Value &sequence,
                    int64_t times) {
  size_t count = times < 0 ? 0 : static_cast<size_t>(times), size = 0;
  size_t unit = sequence.string() ? sequence.string()->size()
                                  : sequence.list()->size() * sizeof(Value);
  if (__builtin_mul_overflow(unit, count, &size))
    throw TemplateError{"result of * is too large"};
  interpreter.charge(size);
  if (unit == 0)
    count = 0;
  if (sequence.string()) {
    std::string out;
    for (size_t i = 0; i < count; ++i)
      out += *sequence.string();
    return out;
  }
  List out;
  for (size_t i = 0; i < count; ++i)
    out.insert(out.end(), sequence.list()->begin(), sequence.list()->end());
  return Value::list(std::move(out), sequence.as<ListValue>()->isTuple);
}

Value qc::rt::chat::arithmetic(Interpreter &interpreter, const std::string &op,
                               const Value &a, const Value &b) {
  if (op == "~") {
    std::string left = toText(a), right = toText(b);
    interpreter.charge(left.size() + right.size());
    return left + right;
  }
  int64_t i = 0, j = 0;
  double x = 0, y = 0;
  if (op != "/" && a.integer(i) && b.integer(j) && !(op == "**" && j < 0))
    return integerArithmetic(op, i, j);
  if (a.number(x) && b.number(y)) {
    if (op == "+")
      return x + y;
    if (op == "-")
      return x - y;
    if (op == "*")
      return x * y;
    if (op == "**")
      return std::pow(x, y);
    if (y == 0)
      throw TemplateError{"division by zero"};
    if (op == "/")
      return x / y;
    if (op == "//")
      return std::floor(x / y);
    double remainder = std::fmod(x, y);
    if (remainder != 0 && (remainder < 0) != (y < 0))
      remainder += y;
    return remainder;
  }
  if (op == "+" && a.string() && b.string()) {
    interpreter.charge(a.string()->size() + b.string()->size());
    return *a.string() + *b.string();
  }
  if (op == "+" && a.list() && b.list()) {
    List items = *a.list();
    items.insert(items.end(), b.list()->begin(), b.list()->end());
    interpreter.charge(items.size() * sizeof(Value));
    return Value::list(std::move(items), a.as<ListValue>()->isTuple);
  }
  if (op == "*" && (a.string() || a.list()) && b.integer(j))
    return repeat(interpreter, a, j);
  if (op == "*" && (b.string() || b.list()) && a.integer(i))
    return repeat(interpreter, b, i);
  throw TemplateError{"operator " + op + " does not work on a " + a.typeName() +
                      " and a " + b.typeName()};
}
