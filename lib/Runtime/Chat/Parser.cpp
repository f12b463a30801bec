//===- Parser.cpp - Syntax of templates -----------------------------------===//
//
// Source: pallets/jinja parser.py
//
//===----------------------------------------------------------------------===//
#include "Ast.h"
#include "Lexer.h"

#include <algorithm>

using namespace qc::rt::chat;

static constexpr int MaxNesting = 100;
static constexpr int MaxExpressionDepth = 200;

namespace {

class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  Body run() {
    Body body = parseBody({});
    if (peek().kind != Token::End)
      fail("unexpected '" + tagName() + "'");
    return body;
  }

private:
  struct Nested {
    int &depth;
    explicit Nested(Parser &p) : depth(p.depth) {
      if (++depth > MaxNesting)
        p.fail("nested too deeply");
    }
    ~Nested() { --depth; }
  };

  [[noreturn]] void fail(const std::string &message) const {
    throw TemplateError{"line " + std::to_string(peek().line) + ": " + message};
  }
  const Token &peek(size_t ahead = 0) const {
    return tokens[std::min(pos + ahead, tokens.size() - 1)];
  }
  Token next() {
    Token token = peek();
    if (pos + 1 < tokens.size())
      ++pos;
    return token;
  }
  bool isOperator(std::string_view op) const {
    return peek().kind == Token::Operator && peek().text == op;
  }
  bool isName(std::string_view name) const {
    return peek().kind == Token::Name && peek().text == name;
  }
  bool skipOperator(std::string_view op) {
    if (!isOperator(op))
      return false;
    next();
    return true;
  }
  bool skipName(std::string_view name) {
    if (!isName(name))
      return false;
    next();
    return true;
  }
  void expectOperator(std::string_view op) {
    if (!skipOperator(op))
      fail("expected '" + std::string(op) + "'" + found());
  }
  std::string expectName() {
    if (peek().kind != Token::Name)
      fail("expected a name" + found());
    return next().text;
  }
  void expectBlockEnd() {
    if (peek().kind != Token::BlockEnd)
      fail("expected the end of the tag" + found());
    next();
  }
  std::string found() const {
    return peek().text.empty() ? "" : ", found '" + peek().text + "'";
  }
  /// At a BlockBegin: the name of its tag.
  std::string tagName() const {
    return peek().kind == Token::BlockBegin ? peek(1).text : peek().text;
  }

  //===--------------------------------------------------------------------===//
  // Statements
  //===--------------------------------------------------------------------===//

  /// Statements up to a tag in `ends` (not consumed) or the end of the file.
  Body parseBody(const std::vector<std::string_view> &ends) {
    Nested nested(*this);
    Body body;
    while (true) {
      const Token &token = peek();
      switch (token.kind) {
      case Token::Text: {
        auto stmt = make(Stmt::Text);
        stmt->text = next().text;
        body.push_back(std::move(stmt));
        break;
      }
      case Token::OutputBegin: {
        auto stmt = make(Stmt::Output);
        next();
        stmt->expr = parseTuple(true);
        if (peek().kind != Token::OutputEnd)
          fail("expected '}}'" + found());
        next();
        body.push_back(std::move(stmt));
        break;
      }
      case Token::BlockBegin: {
        for (std::string_view end : ends)
          if (peek(1).kind == Token::Name && peek(1).text == end)
            return body;
        next();
        body.push_back(parseStatement());
        break;
      }
      case Token::End:
        if (!ends.empty())
          fail("template ends without '" + std::string(ends.back()) + "'");
        return body;
      default:
        fail("unexpected '" + token.text + "'");
      }
    }
  }

  std::unique_ptr<Stmt> make(Stmt::Kind kind) const {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = peek().line;
    return stmt;
  }

  /// Consumes "{% name" of an end tag and what closes it.
  void endTag(std::string_view name) {
    next();
    if (!skipName(name))
      fail("expected '" + std::string(name) + "'");
    expectBlockEnd();
  }

  std::unique_ptr<Stmt> parseStatement() {
    std::string tag = expectName();
    if (tag == "if")
      return parseIf();
    if (tag == "for")
      return parseFor();
    if (tag == "set")
      return parseSet();
    if (tag == "macro")
      return parseMacro();
    if (tag == "break" || tag == "continue") {
      if (!loops)
        fail("'" + tag + "' outside of a loop");
      auto stmt = make(tag == "break" ? Stmt::Break : Stmt::Continue);
      expectBlockEnd();
      return stmt;
    }
    if (tag == "generation") { // transformers marks the assistant's text
      auto stmt = make(Stmt::Group);
      expectBlockEnd();
      stmt->bodies.push_back(parseBody({"endgeneration"}));
      endTag("endgeneration");
      return stmt;
    }
    static constexpr std::string_view Ends[] = {
        "elif",   "else",     "endif",        "endfor",
        "endset", "endmacro", "endgeneration"};
    for (std::string_view end : Ends)
      if (tag == end)
        fail("unexpected '" + tag + "'");
    fail("tag '" + tag + "' is not supported");
  }

  std::unique_ptr<Stmt> parseIf() {
    auto stmt = make(Stmt::If);
    while (true) {
      stmt->conditions.push_back(parseTuple(true));
      expectBlockEnd();
      stmt->bodies.push_back(parseBody({"elif", "else", "endif"}));
      next();
      std::string tag = expectName();
      if (tag == "elif")
        continue;
      expectBlockEnd();
      if (tag == "else") {
        stmt->bodies.push_back(parseBody({"endif"}));
        endTag("endif");
      }
      return stmt;
    }
  }

  std::vector<std::string> parseTargets() {
    std::vector<std::string> names;
    bool parentheses = skipOperator("(");
    do {
      if (!names.empty() && peek().kind != Token::Name)
        break; // trailing comma
      names.push_back(expectName());
    } while (skipOperator(","));
    if (parentheses)
      expectOperator(")");
    return names;
  }

  std::unique_ptr<Stmt> parseFor() {
    auto stmt = make(Stmt::For);
    stmt->targets = parseTargets();
    if (!skipName("in"))
      fail("expected 'in'" + found());
    stmt->expr = parseTuple(false);
    if (skipName("if"))
      stmt->filter = parseExpression();
    if (isName("recursive"))
      fail("recursive loops are not supported");
    expectBlockEnd();
    ++loops;
    stmt->bodies.push_back(parseBody({"else", "endfor"}));
    --loops;
    if (peek(1).text == "else") {
      next();
      next();
      expectBlockEnd();
      stmt->bodies.push_back(parseBody({"endfor"}));
    }
    endTag("endfor");
    return stmt;
  }

  std::unique_ptr<Stmt> parseSet() {
    auto stmt = make(Stmt::Set);
    stmt->targets = parseTargets();
    if (stmt->targets.size() == 1 && skipOperator("."))
      stmt->attribute = expectName();
    if (skipOperator("=")) {
      stmt->expr = parseTuple(true);
      expectBlockEnd();
      return stmt;
    }
    if (stmt->targets.size() != 1)
      fail("expected '='" + found());
    if (isOperator("|"))
      fail("filters on a 'set' block are not supported");
    expectBlockEnd();
    stmt->bodies.push_back(parseBody({"endset"}));
    endTag("endset");
    return stmt;
  }

  std::unique_ptr<Stmt> parseMacro() {
    auto stmt = make(Stmt::Macro);
    stmt->text = expectName();
    expectOperator("(");
    while (!skipOperator(")")) {
      if (!stmt->targets.empty())
        expectOperator(",");
      stmt->targets.push_back(expectName());
      if (skipOperator("="))
        stmt->conditions.push_back(parseExpression());
      else if (!stmt->conditions.empty())
        fail("parameter without a default behind one with a default");
    }
    expectBlockEnd();
    int outer = loops;
    loops = 0;
    stmt->bodies.push_back(parseBody({"endmacro"}));
    loops = outer;
    endTag("endmacro");
    return stmt;
  }

  //===--------------------------------------------------------------------===//
  // Expressions
  //===--------------------------------------------------------------------===//

  ExprPtr make(Expr::Kind kind, std::string text = "") const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = peek().line;
    expr->text = std::move(text);
    return expr;
  }
  /// Adds an operand; the tree's depth is bounded, since evaluation recurses.
  void adopt(Expr &parent, ExprPtr child) const {
    if (child) {
      parent.depth = std::max(parent.depth, child->depth + 1);
      if (parent.depth > MaxExpressionDepth)
        fail("expression is nested too deeply");
    }
    parent.children.push_back(std::move(child));
  }
  ExprPtr binary(Expr::Kind kind, std::string op, ExprPtr a, ExprPtr b) const {
    ExprPtr expr = make(kind, std::move(op));
    adopt(*expr, std::move(a));
    adopt(*expr, std::move(b));
    return expr;
  }

  /// One expression or several with commas between them.
  ExprPtr parseTuple(bool conditions) {
    auto element = [&] { return conditions ? parseExpression() : parseOr(); };
    ExprPtr first = element();
    if (!isOperator(","))
      return first;
    ExprPtr tuple = make(Expr::Tuple);
    adopt(*tuple, std::move(first));
    while (skipOperator(",")) {
      Token::Kind kind = peek().kind;
      if (kind == Token::BlockEnd || kind == Token::OutputEnd ||
          isOperator(")"))
        break;
      adopt(*tuple, element());
    }
    return tuple;
  }

  ExprPtr parseExpression() {
    Nested nested(*this);
    ExprPtr expr = parseOr();
    while (isName("if")) {
      ExprPtr condition = make(Expr::Condition);
      next();
      adopt(*condition, std::move(expr));
      adopt(*condition, parseOr());
      adopt(*condition, skipName("else") ? parseExpression() : nullptr);
      expr = std::move(condition);
    }
    return expr;
  }

  ExprPtr parseOr() {
    ExprPtr left = parseAnd();
    while (skipName("or"))
      left = binary(Expr::Binary, "or", std::move(left), parseAnd());
    return left;
  }

  ExprPtr parseAnd() {
    ExprPtr left = parseNot();
    while (skipName("and"))
      left = binary(Expr::Binary, "and", std::move(left), parseNot());
    return left;
  }

  ExprPtr parseNot() {
    if (!isName("not"))
      return parseCompare();
    Nested nested(*this);
    ExprPtr expr = make(Expr::Unary, "not");
    next();
    adopt(*expr, parseNot());
    return expr;
  }

  ExprPtr parseCompare() {
    ExprPtr first = parseSum();
    ExprPtr expr;
    while (true) {
      std::string op;
      for (std::string_view candidate : {"==", "!=", "<", "<=", ">", ">="})
        if (isOperator(candidate))
          op = candidate;
      if (isName("in"))
        op = "in";
      else if (isName("not") && peek(1).kind == Token::Name &&
               peek(1).text == "in") {
        op = "not in";
        next();
      }
      if (op.empty())
        return expr ? std::move(expr) : std::move(first);
      if (!expr) {
        expr = make(Expr::Compare);
        adopt(*expr, std::move(first));
      }
      next();
      expr->operators.push_back(op);
      adopt(*expr, parseSum());
    }
  }

  ExprPtr parseSum() {
    ExprPtr left = parseConcat();
    while (isOperator("+") || isOperator("-")) {
      std::string op = next().text;
      left = binary(Expr::Binary, op, std::move(left), parseConcat());
    }
    return left;
  }

  ExprPtr parseConcat() {
    ExprPtr left = parseProduct();
    while (skipOperator("~"))
      left = binary(Expr::Binary, "~", std::move(left), parseProduct());
    return left;
  }

  ExprPtr parseProduct() {
    ExprPtr left = parsePower();
    while (isOperator("*") || isOperator("/") || isOperator("//") ||
           isOperator("%")) {
      std::string op = next().text;
      left = binary(Expr::Binary, op, std::move(left), parsePower());
    }
    return left;
  }

  ExprPtr parsePower() {
    ExprPtr left = parseUnary(true);
    while (skipOperator("**"))
      left = binary(Expr::Binary, "**", std::move(left), parseUnary(true));
    return left;
  }

  ExprPtr parseUnary(bool filters) {
    Nested nested(*this);
    ExprPtr expr;
    if (isOperator("-") || isOperator("+")) {
      expr = make(Expr::Unary, next().text);
      adopt(*expr, parseUnary(false));
    } else {
      expr = parsePrimary();
    }
    expr = parsePostfix(std::move(expr));
    return filters ? parseFilters(std::move(expr)) : std::move(expr);
  }

  ExprPtr constant(Value value) {
    ExprPtr expr = make(Expr::Constant);
    expr->value = std::move(value);
    return expr;
  }

  ExprPtr parsePrimary() {
    const Token &token = peek();
    switch (token.kind) {
    case Token::Name: {
      std::string name = next().text;
      if (name == "true" || name == "True")
        return constant(true);
      if (name == "false" || name == "False")
        return constant(false);
      if (name == "none" || name == "None")
        return constant(nullptr);
      return make(Expr::Name, name);
    }
    case Token::String: {
      std::string text = next().text;
      while (peek().kind == Token::String)
        text += next().text;
      return constant(std::move(text));
    }
    case Token::Integer:
      return constant(next().integer);
    case Token::Float:
      return constant(next().real);
    case Token::Operator:
      break;
    default:
      fail("expected an expression" + found());
    }
    if (skipOperator("(")) {
      if (skipOperator(")"))
        return make(Expr::Tuple);
      ExprPtr expr = parseTuple(true);
      expectOperator(")");
      return expr;
    }
    if (skipOperator("[")) {
      ExprPtr list = make(Expr::ListLiteral);
      while (!skipOperator("]")) {
        if (!list->children.empty())
          expectOperator(",");
        if (skipOperator("]"))
          break;
        adopt(*list, parseExpression());
      }
      return list;
    }
    if (skipOperator("{")) {
      ExprPtr dict = make(Expr::Dict);
      while (!skipOperator("}")) {
        if (!dict->children.empty())
          expectOperator(",");
        if (skipOperator("}"))
          break;
        adopt(*dict, parseExpression());
        expectOperator(":");
        adopt(*dict, parseExpression());
      }
      return dict;
    }
    fail("unexpected '" + token.text + "'");
  }

  ExprPtr wrap(Expr::Kind kind, ExprPtr object, std::string text = "") const {
    ExprPtr expr = make(kind, std::move(text));
    adopt(*expr, std::move(object));
    return expr;
  }

  ExprPtr parsePostfix(ExprPtr expr) {
    while (true) {
      if (isOperator(".")) {
        next();
        if (peek().kind == Token::Integer) {
          ExprPtr item = wrap(Expr::Item, std::move(expr));
          adopt(*item, constant(next().integer));
          expr = std::move(item);
        } else {
          std::string name = expectName();
          expr = wrap(Expr::Attribute, std::move(expr), name);
        }
      } else if (isOperator("[")) {
        expr = parseSubscript(std::move(expr));
      } else if (isOperator("(")) {
        expr = wrap(Expr::Call, std::move(expr));
        setArguments(*expr, parseArguments());
      } else {
        return expr;
      }
    }
  }

  ExprPtr parseSubscript(ExprPtr object) {
    next();
    ExprPtr parts[3];
    bool slice = false;
    size_t index = 0;
    while (!isOperator("]")) {
      if (skipOperator(":")) {
        slice = true;
        if (++index > 2)
          fail("slice with more than three parts");
        continue;
      }
      if (parts[index])
        fail("expected ']'" + found());
      parts[index] = parseExpression();
    }
    next();
    if (!slice && !parts[0])
      fail("empty subscript");
    ExprPtr expr = wrap(slice ? Expr::Slice : Expr::Item, std::move(object));
    adopt(*expr, std::move(parts[0]));
    if (slice) {
      adopt(*expr, std::move(parts[1]));
      adopt(*expr, std::move(parts[2]));
    }
    return expr;
  }

  CallArguments parseArguments() {
    CallArguments arguments;
    expectOperator("(");
    bool first = true;
    while (!skipOperator(")")) {
      if (!first)
        expectOperator(",");
      first = false;
      if (skipOperator(")"))
        break;
      if (isOperator("*") || isOperator("**"))
        fail("unpacking of arguments is not supported");
      if (peek().kind == Token::Name && peek(1).kind == Token::Operator &&
          peek(1).text == "=") {
        std::string name = next().text;
        next();
        arguments.named.emplace_back(name, parseExpression());
      } else {
        if (!arguments.named.empty())
          fail("positional argument behind a named one");
        arguments.positional.push_back(parseExpression());
      }
    }
    return arguments;
  }

  void setArguments(Expr &expr, CallArguments arguments) const {
    auto check = [&](const Expr &argument) {
      expr.depth = std::max(expr.depth, argument.depth + 1);
      if (expr.depth > MaxExpressionDepth)
        fail("expression is nested too deeply");
    };
    for (const ExprPtr &argument : arguments.positional)
      check(*argument);
    for (const auto &[name, argument] : arguments.named)
      check(*argument);
    expr.arguments = std::move(arguments);
  }

  std::string dottedName() {
    std::string name = expectName();
    while (isOperator(".")) {
      next();
      name += "." + expectName();
    }
    return name;
  }

  ExprPtr parseFilters(ExprPtr expr) {
    while (true) {
      if (skipOperator("|")) {
        expr = wrap(Expr::Filter, std::move(expr), dottedName());
        if (isOperator("("))
          setArguments(*expr, parseArguments());
      } else if (isName("is")) {
        next();
        bool negated = skipName("not");
        expr = wrap(Expr::Test, std::move(expr), dottedName());
        parseTestArguments(*expr);
        if (negated)
          expr = wrap(Expr::Unary, std::move(expr), "not");
      } else if (isOperator("(")) {
        expr = wrap(Expr::Call, std::move(expr));
        setArguments(*expr, parseArguments());
      } else {
        return expr;
      }
    }
  }

  void parseTestArguments(Expr &test) {
    if (isOperator("(")) {
      setArguments(test, parseArguments());
      return;
    }
    const Token &token = peek();
    bool argument =
        token.kind == Token::String || token.kind == Token::Integer ||
        token.kind == Token::Float || isOperator("[") || isOperator("{");
    if (token.kind == Token::Name)
      argument = !isName("else") && !isName("or") && !isName("and") &&
                 !isName("is") && !isName("if") && !isName("in") &&
                 !isName("not");
    if (argument) {
      CallArguments arguments;
      arguments.positional.push_back(parsePostfix(parsePrimary()));
      setArguments(test, std::move(arguments));
    }
  }

  std::vector<Token> tokens;
  size_t pos = 0;
  int depth = 0, loops = 0;
};

} // namespace

Body qc::rt::chat::parseTemplate(std::string_view source) {
  return Parser(tokenize(source)).run();
}
