//===- Program.cpp - A compiled model as a program ------------------------===//
#include "Program.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

using namespace qc::rt;
using nlohmann::json;

int Program::fail(int code, const std::string &message) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: error: %s\n", name.c_str(), message.c_str());
  return code;
}

int qc::rt::writeFailureCode(int errorNumber) {
  return errorNumber == ENOSPC || errorNumber == EDQUOT || errorNumber == EFBIG
             ? OutOfResources
             : Failure;
}

static int deviceCode(DeviceError::Kind kind) {
  switch (kind) {
  case DeviceError::Kind::Usage:
    return UsageError;
  case DeviceError::Kind::Unavailable:
    return UnsupportedCPU;
  case DeviceError::Kind::OutOfMemory:
    return OutOfResources;
  case DeviceError::Kind::Failed:
    return DeviceFailed;
  }
  return Failure;
}

int64_t Program::contextSize() const {
  return options.context ? options.context
                         : std::min<int64_t>(activeModel().max_positions, 4096);
}

int Program::createSession(int64_t capacity) {
  Session::Options wanted;
  wanted.threads = options.threads ? options.threads : availableCPUs();
  wanted.capacity = capacity;
  wanted.pin = options.pin;
  wanted.hugePages = !options.noMmap && !options.noHugePages;
  wanted.fixedThreads = options.fixedThreads;
  wanted.device = options.device;
  wanted.deviceTimeout = options.deviceTimeout;
  std::string error;
  std::optional<DeviceError::Kind> device;
  session = Session::create(activeModel(), weights(), wanted, error, &device);
  if (session)
    return Success;
  return device ? failDevice({*device, error}) : fail(OutOfResources, error);
}

int Program::failDevice(const DeviceError &error) {
  int code = fail(deviceCode(error.kind), error.message);
  // A driver that still works on a step would read memory that goes away with
  // this process's orderly end, or that end would wait for it.
  if (error.kind == DeviceError::Kind::Failed) {
    std::fflush(nullptr);
    std::_Exit(code);
  }
  return code;
}

int Program::failSession(const std::string &message, int otherwise) {
  if (session && session->deviceFailure())
    return failDevice({*session->deviceFailure(), message});
  return fail(otherwise, message);
}

std::unique_ptr<Device> Program::openDevice(int64_t capacity,
                                            DeviceError &error) {
  auto [own, bytes] = deviceWeights(qc_model, weights());
  return createDevice(*qc_model.device, own, bytes,
                      {options.device, capacity, options.deviceTimeout}, error);
}

int Program::selfTestDevice() {
  DeviceError error;
  auto device = openDevice(QC_CAPACITY_TILE, error);
  if (!device)
    return failDevice(error);
  if (selfTest(*qc_model.device, *device, options.quiet))
    return Success;
  // The device may hang, see failDevice().
  std::fflush(nullptr);
  std::_Exit(Failure);
}

/// Options that need a device need a model that runs on one.
int Program::checkDevice() {
  const char *option = options.listDevices       ? "--list-devices"
                       : !options.device.empty() ? "--device"
                       : options.profile         ? "--profile"
                                                 : nullptr;
  if (qc_model.device || !option)
    return Success;
  return fail(UsageError,
              std::string(option) + ": this model was compiled for the CPU");
}

int Program::open(const std::string &path) {
  std::string error;
  if (qc_model.abi_version != QC_ABI_VERSION)
    return fail(Failure, "the model has ABI version " +
                             std::to_string(qc_model.abi_version) +
                             ", this runtime " +
                             std::to_string(QC_ABI_VERSION));
  if (std::string problem = versionProblem(); !problem.empty())
    return fail(UsageError, problem);
  payload = Payload::open(path, options.noMmap, error);
  if (!payload)
    return fail(BadInput, error);
  auto bytes = static_cast<int64_t>(payload->section("weights").size());
  if (bytes != activeModel().weights_bytes)
    return fail(BadInput, "'" + path + "': section 'weights' has " +
                              std::to_string(bytes) + " bytes, expected " +
                              std::to_string(activeModel().weights_bytes));
  metadata = json::parse(payload->section("metadata"), nullptr,
                         /*allow_exceptions=*/false);
  if (!metadata.is_object())
    return fail(BadInput,
                "'" + path + "': section 'metadata' is not a JSON object");
  readTokenizerInfo();
  if (options.context > activeModel().max_positions)
    return fail(UsageError, "--context " + std::to_string(options.context) +
                                ": the model has " +
                                std::to_string(activeModel().max_positions) +
                                " positions");
  return Success;
}

int Program::checkCPU() {
  std::string missing = missingFeatures(activeModel());
  if (missing.empty())
    return Success;
  return fail(UnsupportedCPU,
              "this CPU lacks " + missing +
                  ", which the model was compiled for (--mcpu=" +
                  activeModel().target_cpu + ")");
}

/// Takes over what metadata.tokenizer says, as far as it is well formed.
void Program::readTokenizerInfo() {
  auto isId = [&](const json &value) {
    return value.is_number_integer() && value.get<int64_t>() >= 0 &&
           value.get<int64_t>() < activeModel().vocab_size;
  };
  auto readEnds = [&](const json &object) {
    if (auto list = object.find("eos_ids");
        list != object.end() && list->is_array())
      for (const json &id : *list)
        if (isId(id))
          ends.push_back(id.get<int32_t>());
  };
  auto it = metadata.find("tokenizer");
  if (it == metadata.end() || !it->is_object()) {
    // --generate-ids ends without a tokenizer, too.
    if (auto config = metadata.find("config");
        config != metadata.end() && config->is_object())
      readEnds(*config);
    return;
  }
  auto text = [&](const char *key) {
    auto field = it->find(key);
    return field != it->end() && field->is_string() ? field->get<std::string>()
                                                    : std::string();
  };
  tokenizerInfo.present = true;
  tokenizerInfo.sentencePiece = text("kind") == "sentencepiece";
  tokenizerInfo.chatTemplate = text("chat_template");
  tokenizerInfo.bosText = text("bos_token");
  tokenizerInfo.eosText = text("eos_token");
  if (auto id = it->find("bos_id"); id != it->end() && isId(*id))
    bos = id->get<int32_t>();
  auto adds = it->find("add_bos");
  tokenizerInfo.addsBos =
      bos >= 0 && adds != it->end() && adds->is_boolean() && adds->get<bool>();
  readEnds(*it);
}

bool Program::isEnd(int32_t id) const {
  return !options.ignoreEos &&
         std::find(ends.begin(), ends.end(), id) != ends.end();
}

/// Makes the tokenizer; an error if the model has none.
int Program::needTokenizer() {
  if (!tokenizerInfo.present)
    return fail(BadInput, "this model has no tokenizer: use --generate-ids or "
                          "--logits with token ids");
  std::string error;
  tokenizer = Tokenizer::create(tokenizerInfo.sentencePiece
                                    ? TokenizerKind::SentencePiece
                                    : TokenizerKind::HuggingFaceJson,
                                payload->section("tokenizer"), error);
  return tokenizer ? Success : fail(BadInput, "tokenizer: " + error);
}

int Program::run(const std::string &path) {
  if (int code = open(path))
    return code;
  // Prints only: works on any CPU.
  if (options.info)
    return info();
  if (int code = checkDevice())
    return code;
  if (options.listDevices)
    return listDevices();
  if (int code = checkCPU())
    return code;
  if (options.selfTest)
    if (std::string problem = payload->checkWeights(); !problem.empty())
      return fail(BadInput, problem);
  if (options.selfTest && qc_model.gpu_layers &&
      !selfTest(activeModel(), weights(), options.quiet))
    return Failure;
  if (options.selfTest && qc_model.device)
    return selfTestDevice();
  if (options.selfTest)
    return selfTest(activeModel(), weights(), options.quiet) ? Success
                                                             : Failure;
  if (options.bench)
    return runBench();
  if (options.profile)
    return runProfile();
  if (options.logits)
    return runLogits();
  if (options.generateIds)
    return runGenerateIds();
  if (int code = needTokenizer())
    return code;
  if (options.perplexity)
    return runPerplexity();
  if (!options.prompt && !options.promptFile && isatty(0))
    return runChat();
  std::string prompt;
  if (int code = readPrompt(prompt))
    return code;
  return runPrompt(std::move(prompt));
}
