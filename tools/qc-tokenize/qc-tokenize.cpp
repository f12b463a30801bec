//===- qc-tokenize.cpp - Tokenize lines -----------------------------------===//
//
//   qc-tokenize FILE [--decode] [--stream] [--special] [--null] < lines
//   qc-tokenize FILE --info
//
// FILE is a tokenizer.json or a tokenizer.model. Prints the ids of each line
// of the input, separated by spaces. For looking at tokenizations and for
// python/tests/test_tokenizers.py.
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

using namespace qc::rt;

static constexpr const char *Usage =
    "usage: qc-tokenize FILE [options] < lines\n"
    "FILE        tokenizer.json or tokenizer.model\n"
    "--decode    lines are ids, print their text\n"
    "--stream    with --decode: token by token\n"
    "--special   text of special tokens stands for them (and is printed)\n"
    "--null      lines end with NUL instead of newline, in and out\n"
    "--info      print size and special ids of the tokenizer instead\n";

static int fail(const std::string &message) {
  std::cerr << "qc-tokenize: error: " << message << "\n";
  return 1;
}

static bool parseIds(const std::string &line, std::vector<int32_t> &ids) {
  ids.clear();
  const char *p = line.c_str();
  while (true) {
    char *end = nullptr;
    long value = std::strtol(p, &end, 10);
    if (end == p)
      return line.find_first_not_of(" \t",
                                    static_cast<size_t>(p - line.c_str())) ==
             std::string::npos;
    if (value < INT32_MIN || value > INT32_MAX)
      return false;
    ids.push_back(static_cast<int32_t>(value));
    p = end;
  }
}

int main(int argc, char **argv) {
  std::string path;
  bool decode = false, stream = false, special = false, info = false;
  char separator = '\n';
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (arg == "--decode")
      decode = true;
    else if (arg == "--stream")
      stream = true;
    else if (arg == "--special")
      special = true;
    else if (arg == "--null")
      separator = '\0';
    else if (arg == "--info")
      info = true;
    else if (arg == "--help") {
      std::cout << Usage;
      return 0;
    } else if (path.empty() && !arg.starts_with("--"))
      path = arg;
    else
      return fail("unexpected argument '" + arg + "', see --help");
  }
  if (path.empty())
    return fail("no tokenizer file given, see --help");
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (!file)
    return fail("cannot read '" + path + "'");

  TokenizerKind kind = path.ends_with(".json") ? TokenizerKind::HuggingFaceJson
                                               : TokenizerKind::SentencePiece;
  std::string error;
  auto start = std::chrono::steady_clock::now();
  std::unique_ptr<Tokenizer> tokenizer = Tokenizer::create(kind, bytes, error);
  std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - start;
  if (!tokenizer)
    return fail(path + ": " + error);
  if (info) {
    std::cout << "vocabulary " << tokenizer->vocabSize() << "\nbos "
              << tokenizer->bosId() << "\neos " << tokenizer->eosId()
              << "\nprefix";
    for (int32_t id : tokenizer->prefixIds())
      std::cout << ' ' << id;
    std::cout << "\nsuffix";
    for (int32_t id : tokenizer->suffixIds())
      std::cout << ' ' << id;
    std::printf("\nloaded in %.1f ms\n", elapsed.count());
    return 0;
  }

  std::ios::sync_with_stdio(false);
  std::string line, out;
  std::vector<int32_t> ids;
  for (size_t number = 1; std::getline(std::cin, line, separator); ++number) {
    out.clear();
    if (decode) {
      if (!parseIds(line, ids))
        return fail("line " + std::to_string(number) + ": not a list of ids");
      if (stream) {
        StreamDecoder decoder(*tokenizer, !special);
        for (int32_t id : ids)
          out += decoder.push(id);
        out += decoder.finish();
      } else {
        out = tokenizer->decode(ids, !special);
      }
    } else {
      ids = tokenizer->encode(line, special, &error);
      if (!error.empty())
        return fail("line " + std::to_string(number) + ": " + error);
      for (int32_t id : ids)
        out += (out.empty() ? "" : " ") + std::to_string(id);
    }
    std::cout << out << separator;
  }
  return 0;
}
