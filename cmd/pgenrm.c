/* pgenrm.c - main: finds the command and runs it. */
#include <signal.h>
#include <string.h>

#include "commands.h"
#include "message.h"

/* In the order in which a newcomer needs them. The program of `make demo` lacks the largest ones: see PGR_QUICK. */
static const command *const COMMANDS[] = {
    &CMD_SCORE,    &CMD_USER,
#ifndef PGR_QUICK
    &CMD_SERVE,
#endif
    &CMD_GENERATE, &CMD_PULL,       &CMD_INSPECT, &CMD_EMBED,
#ifndef PGR_QUICK
    &CMD_BENCH,
#endif
    &CMD_TOKENIZE, &CMD_PERPLEXITY, &CMD_MERGE,   &CMD_CONVERT, &CMD_PROTO,
#ifndef PGR_QUICK
    &CMD_SYNTH,    &CMD_TRAIN,      &CMD_LABEL,   &CMD_REPORT,
#endif
    &CMD_DOCTOR,
};
enum { N_COMMAND = sizeof COMMANDS / sizeof *COMMANDS };

static void print_commands(FILE *f) {
    fprintf(f, "pgenrm - judges which response a user would prefer, from what the user preferred before\n\n"
               "Usage: pgenrm COMMAND [options]\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMAND; i++) fprintf(f, "  %-12s %s\n", COMMANDS[i]->name, COMMANDS[i]->summary);
    fprintf(f,
            "\n`pgenrm COMMAND --help` explains a command, `pgenrm --version` tells the version.\n"
            "\nExample:\n  %s\n",
            CMD_SCORE.example);
}

/* Whether the command is one that only the whole program has. */
static bool left_out(const char *name) {
    static const char *const NAMES[] = {"serve", "bench", "synth", "train", "label", "report"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(name, NAMES[i]) == 0) return true; /* it would have been found */
    return false;
}

static int fail_command(const char *name) {
    if (left_out(name))
        return args_wrong(
            NULL, "this program was built in a hurry, without %s: `make build` makes build/pgenrm, which has it", name);
    const char *names[N_COMMAND + 1] = {NULL};
    for (size_t i = 0; i < N_COMMAND; i++) names[i] = COMMANDS[i]->name;
    const char *nearest = pgr_nearest(name, names);
    const char *what = name[0] == '-' ? "option" : "command";
    if (name[0] == '-') nearest = NULL;
    return args_wrong(NULL, "unknown %s %s%s%s", what, name, nearest ? ", perhaps " : "", nearest ? nearest : "");
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of a write, as a full disk is */
    if (argc < 2) {
        print_commands(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_commands(stdout);
        return finish_output();
    }
    if (strcmp(name, "--version") == 0) {
        printf("pgenrm %s\n", PGR_VERSION);
        return finish_output();
    }
    for (size_t i = 0; i < N_COMMAND; i++) {
        if (strcmp(name, COMMANDS[i]->name) != 0) continue;
        catch_interrupts();
        int status = COMMANDS[i]->run(COMMANDS[i], argc - 1, argv + 1);
        int written = finish_output();
        return status == EXIT_DONE ? written : status;
    }
    return fail_command(name);
}
