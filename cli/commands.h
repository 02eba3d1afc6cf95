/* The commands. Each takes the words after its name and returns an enum exit_code. */
#ifndef ASSENT_CLI_COMMANDS_H
#define ASSENT_CLI_COMMANDS_H

int command_tx(int argc, char **argv);
int tx_timeline(int argc, char **argv); /* of tx */
int command_transfer(int argc, char **argv);
int command_participants(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_undrain(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_token(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_torture(int argc, char **argv);

#endif
