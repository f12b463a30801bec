//===- Ast.h - Syntax tree of templates -------------------------*- C++ -*-===//
#ifndef QC_LIB_RUNTIME_CHAT_AST_H
#define QC_LIB_RUNTIME_CHAT_AST_H

#include "Value.h"

namespace qc::rt::chat {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

struct Expr {
  enum Kind {
    Constant,    ///< value
    Name,        ///< text
    ListLiteral, ///< children
    Tuple,       ///< children
    Dict,        ///< children: key, value, key, value, ...
    Attribute,   ///< children[0] . text
    Item,        ///< children[0] [ children[1] ]
    Slice,       ///< children[0] [ 1 : 2 : 3 ], null if omitted
    Call,        ///< children[0] ( arguments )
    Filter,      ///< children[0] | text ( arguments )
    Test,        ///< children[0] is text ( arguments )
    Unary,       ///< text: "-", "+", "not"
    Binary,   ///< text: "+", "-", "*", "/", "//", "%", "**", "~", "and", "or"
    Compare,  ///< children joined by `operators`
    Condition ///< children[0] if children[1] else children[2] (may be null)
  };
  Kind kind;
  int line = 0;
  int depth = 1; ///< of the tree, bounded by the parser
  Value value;
  std::string text;
  std::vector<ExprPtr> children;
  std::vector<std::string> operators;
  CallArguments arguments;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Stmt {
  enum Kind {
    Text,   ///< text
    Output, ///< expr
    If,     ///< conditions and bodies; one body more for else
    For,    ///< targets in expr if filter; bodies[0], bodies[1] = else
    Set,    ///< targets = expr, or = bodies[0]
    Macro,  ///< text (targets = parameters, defaults): bodies[0]
    Group,  ///< bodies[0], e.g. {% generation %}
    Break,
    Continue
  };
  Kind kind;
  int line = 0;
  std::string text;
  ExprPtr expr, filter;
  std::vector<ExprPtr> conditions; ///< of If; defaults of Macro
  std::vector<std::string> targets;
  std::string attribute; ///< of Set: {% set target.attribute = ... %}
  std::vector<Body> bodies;
};

/// Parses a template; throws TemplateError with the line in the message.
Body parseTemplate(std::string_view source);

} // namespace qc::rt::chat

#endif // QC_LIB_RUNTIME_CHAT_AST_H
