//! AMQP 1.0 codec and server-side connection machine: no socket, no clock, no task.
