/* SPDX-License-Identifier: Apache-2.0
 * The least that a program does with the library: a failure that comes back as a value. Links the whole of it. */
#include <gemmule.h>

#include <stdio.h>

int main(void)
{
    gem_model *model = NULL;
    gem_engine *engine = NULL;
    gem_error err = {0};

    if (gem_model_open(&model, "/nowhere/model.gguf", NULL, &err) != GEM_E_IO || model) {
        printf("opening a file that is not there: %s\n", err.message);
        return 1;
    }
    if (model && gem_engine_open(&engine, model, NULL, &err)) return 1; /* never run; links the engine */
    gem_engine_close(engine);
    gem_model_close(model);
    printf("%s\n", gem_version());
    return 0;
}
