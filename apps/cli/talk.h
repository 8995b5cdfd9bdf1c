/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/talk.h - a conversation: messages as JSON, the tokens they have become, and the answers to them. Functions
 * say themselves what went wrong and return 0 or an exit code. */
#ifndef GEM_CLI_TALK_H
#define GEM_CLI_TALK_H

#include "answer.h"
#include "attach.h"
#include "constraint.h"
#include "engine.h"
#include "input.h"
#include "media.h"
#include "sampling.h"
#include "view.h"

#include <yyjson.h>

/* Options that `run` and `chat` share. */
struct gem_cli_talk_args {
    const char *system, *tools, *tool_choice, *think, *thoughts;
    bool one_call;
};
extern const struct gem_cli_option gem_cli_talk_options[6];

/* An array of declarations; zero-initialised is none. */
struct gem_cli_tools {
    struct gem_cli_text text; /* JSON */
    yyjson_doc *doc;          /* of it */
};

/* Zero-initialised is closed. */
struct gem_cli_talk {
    struct gem_cli_engine *engine;
    gem_sampling *sampling; /* its seed moves on from answer to answer */
    gem_logit_bias *bias;   /* the sampling's, and control tokens that have no place in an answer */
    struct gem_cli_answer_limits limits;
    bool thinking;
    size_t thought_tokens;      /* 0: no limit */
    gem_constraint *constraint; /* of answers without tools; borrowed; NULL: any text */
    struct gem_cli_tool_use tool_use;
    struct gem_cli_showing showing; /* how media are shown */
    struct gem_cli_media media;     /* of all messages, by their parts */
    struct gem_cli_view view;
    yyjson_mut_doc *doc;
    yyjson_mut_val *messages; /* an array of doc */
    yyjson_mut_val *shown;    /* the same: parts that the next thing said begins with */
    struct gem_cli_tools tools;
    gem_chat_prompt *prompt;        /* of the answer in progress */
    struct gem_cli_tokens sequence; /* the last prompt and what came behind it */
    struct gem_cli_tokens plain;    /* that prompt with one placeholder for each part with media */
    size_t n_prompt;                /* its length in the sequence */
    gem_generate_stats stats;       /* of the last answer */
    size_t n_calls;                 /* of all answers: they are numbered */
};

/* Before a model is opened, which may take long: whether the options can be meant so. */
int gem_cli_talk_check(const char *command, const struct gem_cli_talk_args *args);
/* Begins a conversation as the options, which were checked, say. Adds to the sampling's bias. */
int gem_cli_talk_open(struct gem_cli_talk *talk, struct gem_cli_engine *engine, gem_sampling *sampling,
                      const struct gem_cli_talk_args *args, bool interactive);
void gem_cli_talk_close(struct gem_cli_talk *talk);

/* "off", "on" or a number of tokens. false: none of these. */
bool gem_cli_talk_think(struct gem_cli_talk *talk, const char *text);
/* Reads a file of declarations; NULL: no tools any more. */
int gem_cli_talk_set_tools(struct gem_cli_talk *talk, const char *path);
/* What the model is told before the conversation; n 0: nothing. name is that of the text, for messages. */
int gem_cli_talk_set_system(struct gem_cli_talk *talk, const char *text, size_t n, const char *name);
/* Opens a file, "image", "video" or "audio", which is then shown before what is said next. */
int gem_cli_talk_show(struct gem_cli_talk *talk, const char *type, const char *path);
int gem_cli_talk_say(struct gem_cli_talk *talk, const char *text, size_t n, const char *name);
/* The result of call number i of the last message. */
int gem_cli_talk_result(struct gem_cli_talk *talk, yyjson_mut_val *call, const char *text, size_t n);

/* Messages to tokens: talk->sequence is the prompt. */
int gem_cli_talk_render(struct gem_cli_talk *talk);
/* Renders if that was not done, answers, and adds the answer to the messages. *calls: the calls of it, or NULL. After a
 * failure, and when it was interrupted before its first token, the messages are as before. */
int gem_cli_talk_answer(struct gem_cli_talk *talk, yyjson_mut_val **calls);

/* n answers to the same messages, computed together, then shown one after the other; none is added to the messages.
 * stats: a line after each. */
int gem_cli_talk_samples(struct gem_cli_talk *talk, size_t n, bool stats);

/* Takes the last message of the user, and all behind it, back. keep: leaves that one. false: there is none. */
bool gem_cli_talk_undo(struct gem_cli_talk *talk, bool keep);
int gem_cli_talk_save(const struct gem_cli_talk *talk, const char *path);
/* Messages, and tools if the file has any. After a failure all is as before. */
int gem_cli_talk_load(struct gem_cli_talk *talk, const char *path);

#endif
