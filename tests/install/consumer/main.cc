// SPDX-License-Identifier: Apache-2.0
// The same from C++.
#include <gemmule.h>

#include <iostream>
#include <memory>

int main()
{
    gem_model *raw = nullptr;
    gem_error err{};
    const gem_status status = gem_model_open(&raw, "/nowhere/model.gguf", nullptr, &err);
    const std::unique_ptr<gem_model, decltype(&gem_model_close)> model(raw, gem_model_close);

    if (status != GEM_E_IO || model) {
        std::cout << "opening a file that is not there: " << err.message << "\n";
        return 1;
    }
    std::cout << gem_version() << "\n";
    return 0;
}
