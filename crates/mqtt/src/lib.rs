//! MQTT 3.1.1 packets and server session machine: no socket, no clock, no task.
