//===- ConfigReader.cpp - Checked fields of a JSON object -----------------===//
#include "qc/Frontend/ConfigReader.h"

#include <cmath>

using namespace qc;

const Json *ConfigReader::find(const char *field) const {
  auto found = object.find(field);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json *ConfigReader::require(const char *field, bool hasFallback,
                                  const std::string &expected) {
  const Json *value = find(field);
  if (!value && !hasFallback)
    fail(field, mentions(field) ? " is null, " : " is missing, ", "expected ",
         expected);
  return value;
}

int64_t ConfigReader::integer(const char *field, int64_t min, int64_t max,
                              std::optional<int64_t> fallback) {
  std::string expected =
      "an integer from " + std::to_string(min) + " to " + std::to_string(max);
  const Json *value = require(field, fallback.has_value(), expected);
  if (value) {
    // An unsigned value above INT64_MAX does not become negative here.
    bool inRange = value->is_number_unsigned()
                       ? value->get<uint64_t>() <= static_cast<uint64_t>(max)
                       : value->is_number_integer();
    if (inRange && value->get<int64_t>() >= min && value->get<int64_t>() <= max)
      return value->get<int64_t>();
    fail(field, " is ", describe(*value), ", expected ", expected);
  }
  return fallback.value_or(min);
}

double ConfigReader::positive(const char *field,
                              std::optional<double> fallback) {
  const Json *value = require(field, fallback.has_value(), "a positive number");
  if (value) {
    if (value->is_number() && value->get<double>() > 0 &&
        std::isfinite(value->get<double>()))
      return value->get<double>();
    fail(field, " is ", describe(*value), ", expected a positive number");
  }
  return fallback.value_or(1);
}

bool ConfigReader::boolean(const char *field, bool fallback) {
  const Json *value = find(field);
  if (value && !value->is_boolean())
    fail(field, " is ", describe(*value), ", expected true or false");
  return value && value->is_boolean() ? value->get<bool>() : fallback;
}

std::string ConfigReader::string(const char *field, llvm::StringRef fallback) {
  const Json *value = find(field);
  if (value && !value->is_string())
    fail(field, " is ", describe(*value), ", expected a string");
  return value && value->is_string() ? value->get<std::string>()
                                     : fallback.str();
}
