//===- Lexer.h - Tokens of templates ----------------------------*- C++ -*-===//
#ifndef QC_LIB_RUNTIME_CHAT_LEXER_H
#define QC_LIB_RUNTIME_CHAT_LEXER_H

#include "Value.h"

namespace qc::rt::chat {

struct Token {
  enum Kind {
    Text,
    OutputBegin,
    OutputEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End
  };
  Kind kind;
  int line;
  std::string text; ///< String: unescaped
  int64_t integer = 0;
  double real = 0;
};

/// All tokens, with white space control applied as by trim_blocks and
/// lstrip_blocks. Throws TemplateError.
std::vector<Token> tokenize(std::string_view source);

} // namespace qc::rt::chat

#endif // QC_LIB_RUNTIME_CHAT_LEXER_H
